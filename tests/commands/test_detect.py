"""`detect`, the coarse way: boxes in pixels of the upright picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run import assert_one_error, run


@pytest.fixture
def detect(random_model: str):
    def call(*arguments: str | Path):
        return run("detect", *arguments, "-m", random_model, "--engine", "openclip", "--format", "jsonl")

    return call


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    Image.effect_noise((120, 60), 80).convert("RGB").save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_rows_have_boxes_in_the_picture_best_first(detect, wide: Path):
    result = detect(wide, "-l", "disc,square", "--threshold", "0.0")
    assert result.code == 0, result.stderr
    assert "coarse boxes" in result.stderr
    assert {row["label"] for row in result.rows} == {"disc", "square"}
    scores = [row["score"] for row in result.rows]
    assert scores == sorted(scores, reverse=True)
    for row in result.rows:
        assert list(row) == ["image", "label", "score", "box"]
        x0, y0, x1, y1 = row["box"]
        assert 0 <= x0 < x1 <= 120
        assert 0 <= y0 < y1 <= 60


def test_a_threshold_leaves_boxes_out(detect, wide: Path):
    every = detect(wide, "-l", "disc,square", "--threshold", "0.0").rows
    best = every[0]["score"]
    some = detect(wide, "-l", "disc,square", "--threshold", str(best - 1e-4)).rows
    assert some[0] == every[0]
    assert len(some) < len(every)
    assert detect(wide, "-l", "disc,square", "--threshold", "1.0").rows == []


def test_boxes_are_of_the_upright_picture(detect, wide: Path, tmp_path: Path):
    """A picture that lies on its side, with the tag that says so, has the boxes of the upright one."""
    lying, exif = Image.open(wide).transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    lying.save(tmp_path / "lying.png", exif=exif)
    asked = ("-l", "disc,square", "--threshold", "0.0")
    upright, turned = detect(wide, *asked).rows, detect(tmp_path / "lying.png", *asked).rows
    assert [row["box"] for row in turned] == [row["box"] for row in upright]


def test_crops_are_what_is_in_the_boxes(detect, wide: Path, tmp_path: Path):
    (tmp_path / "crops").mkdir()
    rows = detect(wide, "-l", "disc/square", "--threshold", "0.0", "--crops", tmp_path / "crops").rows
    files = sorted((tmp_path / "crops").iterdir())
    assert len(files) == len(rows)
    for file, row in zip(files, rows, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), np.asarray(Image.open(wide).crop(row["box"])))


def test_a_bad_image_is_a_row(detect, wide: Path, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    result = detect(tmp_path / "broken.jpg", wide, "-l", "disc", "--threshold", "0.0")
    assert result.code == 3
    assert result.rows[0]["error"]["stage"] == "decode"
    assert len(result.rows) > 1


def test_what_does_not_go_is_said(detect, wide: Path, tmp_path: Path):
    assert_one_error(detect(wide, "-l", "disc", "--crops", tmp_path / "gone"), "is not a folder", code=2)
    assert detect(wide).code == 2


@pytest.mark.thorough
def test_tiny_finds_what_is_pasted_on_a_scene(shared: Path, tmp_path: Path):
    """One banana in the right third of a grey picture."""
    picture = next((shared / "data" / "photos" / "grocery").glob("*anana*/*.jpg"), None)
    if picture is None:
        pytest.skip("needs a photo of a banana")
    scene = Image.new("RGB", (600, 220), (120, 125, 130))
    scene.paste(Image.open(picture).convert("RGB").resize((180, 180)), (400, 20))
    scene.save(tmp_path / "scene.png")
    result = run("detect", tmp_path / "scene.png", "-l", "banana", "-m", "tiny", "--format", "jsonl", "-q")
    assert result.code == 0, result.stderr
    x0, _, x1, _ = result.rows[0]["box"]
    assert x0 >= 250  # coarse: it touches the thing, and is not in the other half
    assert x1 > 400
