"""Vectors of images that were read otherwise than those of this run: every command that compares them says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw
from run import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ON_BLACK = "its images were read rgb on #000000, those of this run rgb on #ffffff"
ADVICE = "to read both in the same way, add --background-colour '#000000'"
FORMATS = ("jsonl", "csv", "npy", "npz", "safetensors")


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """Two drawings on transparency."""
    place = tmp_path / "drawings"
    place.mkdir()
    for name, box in (("left", (2, 2, 20, 60)), ("right", (40, 30, 62, 62))):
        image = Image.new("RGBA", (64, 64))
        ImageDraw.Draw(image).ellipse(box, "black")
        image.save(place / f"{name}.png")
    return place


@pytest.fixture
def embed(drawings: Path, random_model: str, tmp_path: Path) -> Callable[..., Path]:
    """Vectors of the drawings, as they come on stdout where the format does: there is no second file."""

    def call(kind: str, *options: str, name: str = "black") -> Path:
        path = tmp_path / f"{name}.{kind}"
        if kind in {"jsonl", "csv"}:
            result = run("embed", drawings, "-m", random_model, "-f", kind, *options)
            path.write_text(result.stdout, encoding="utf-8")
        else:
            result = run("embed", drawings, "-m", random_model, "-o", path, *options)
        assert result.code == 0, result.stderr
        return path

    return call


@pytest.mark.parametrize("kind", FORMATS)
def test_a_query_image_is_read_as_the_vectors_were(embed: Any, drawings: Path, random_model: str, kind: str):
    path = embed(kind, "--background-colour", "black")
    query = ("rank", "-i", drawings / "left.png", path, "-m", random_model)
    other = run(*query)
    assert other.code == 0
    assert f"warning: {path}: {ON_BLACK}; {ADVICE}" in other.stderr
    assert "warning" not in run(*query, "--background-colour", "#000").stderr
    assert "warning" not in run("rank", "a drawing", path, "-m", random_model).stderr


def test_an_index_knows_how_its_images_were_read(embed: Any, drawings: Path, random_model: str, tmp_path: Path):
    assert run("index", embed("npy", "--background-colour", "black"), "-o", tmp_path / "an.index").code == 0
    query = ("rank", "-i", drawings / "left.png", tmp_path / "an.index", "-m", random_model)
    assert f"{ON_BLACK}; {ADVICE}" in run(*query).stderr
    assert "warning" not in run(*query, "--background-colour", "black").stderr


@pytest.mark.parametrize(
    ("made", "now", "said"),
    [
        (
            (),
            ("--bare-transform",),
            ("rgb on #ffffff", "bare", "leave out --bare-transform and add --background-colour"),
        ),
        (("--bare-transform",), (), ("bare", "rgb on #ffffff", "add --bare-transform")),
        (("--no-orient",), (), ("unrotated", "upright", "add --no-orient")),
        ((), ("--no-orient",), ("upright", "unrotated", "leave out --no-orient")),
        (("--fast-decode",), (), None),
        (("--background-colour", "red", "--no-orient"), ("--no-orient", "--background-colour", "#ff0000"), None),
    ],
)
def test_references_of_dedupe(
    embed: Any, random_model: str, made: tuple[str, ...], now: tuple[str, ...], said: tuple[str, str, str] | None
):
    path = embed("jsonl", *made)
    result = run("dedupe", path.parent / "drawings", "--against", path, "-m", random_model, *now)
    warnings = [line for line in result.stderr.splitlines() if "its images were read" in line]
    if said is None:
        assert warnings == []
    else:
        theirs, ours, advice = said
        assert f"read {theirs}, those of this run {ours}; to read both in the same way, {advice}" in "".join(warnings)


def test_files_that_are_searched_together(embed: Any, random_model: str):
    black, white = embed("jsonl", "--background-colour", "black"), embed("npy", name="white")
    result = run("rank", "a drawing", white, black, "-m", random_model)
    assert result.code == 0
    assert f"{black}: its images were read rgb on #000000, those of {white} rgb on #ffffff\n" in result.stderr
    merged = run("merge", white, black, "-o", black.with_suffix(".npz"))
    assert merged.code == 4
    assert "pixels is" in merged.stderr
