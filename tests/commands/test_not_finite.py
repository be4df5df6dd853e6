"""A model that gives numbers which mean nothing: rows that say so, the documented exit code, nothing kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import colour_model
import numpy as np
import pictures
import pytest
from open_clip.tokenizer import SimpleTokenizer
from run import Result, assert_one_error, run
from safetensors.torch import load_file, save_file

from clipcli.session.features import ALL_ZERO, NOT_FINITE

ERROR = {"stage": "encode", "reason": NOT_FINITE}


def poisoned(model: str, folder: Path, weight: str, index: tuple[int, ...], value: float = float("nan")) -> str:
    """A copy of a model with one number changed."""
    source = Path(model.removeprefix("local-dir:"))
    shutil.copytree(source, folder)
    weights = load_file(source / "open_clip_model.safetensors")
    weights[weight][index] = value
    save_file(weights, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def bad_images(random_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One weight of the image tower is a NaN: no image has a vector."""
    return poisoned(random_model, tmp_path_factory.mktemp("bad") / "images", "visual.conv1.weight", (0, 0, 0, 0))


@pytest.fixture(scope="module")
def bad_word(random_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One number of one word's embedding is infinite: texts with that word have no vector."""
    where = tmp_path_factory.mktemp("bad") / "word"
    return poisoned(
        random_model, where, "token_embedding.weight", (SimpleTokenizer().encode("square")[0], 3), float("inf")
    )


@pytest.fixture(scope="module")
def bad_bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle that gives no image a vector, and the word "blue" none either."""
    return colour_model.save(tmp_path_factory.mktemp("bundle") / "bad", blind=True, unspeakable="blue")


@pytest.fixture(params=["torch", "onnx"])
def options(request: pytest.FixtureRequest) -> list[str]:
    """The model without vectors for images, through each engine."""
    if request.param == "onnx":
        return ["-m", request.getfixturevalue("bad_bundle")]
    return ["-m", request.getfixturevalue("bad_images"), "--engine", "openclip"]


def rows(result: Result) -> list[Any]:
    """Of strict JSON: NaN is no number there."""
    return [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]


def images_of(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*.png"))


@pytest.mark.parametrize(
    "command",
    [("classify", "-l", "disc,house"), ("embed",), ("rank", "-e", "a disc"), ("dedupe",)],
    ids=lambda command: command[0],
)
def test_every_image_is_an_error_row(command: tuple[str, ...], options: list[str], folder: Path):
    name, *rest = command
    for _ in range(2):  # the second run finds nothing of the first
        result = run(name, folder, *rest, *options, "--format", "jsonl")
        assert (result.code, "Traceback" in result.stderr) == (5, False), result.stderr
        assert [row["error"] for row in rows(result)] == [ERROR] * len(images_of(folder))
        assert sorted(row["image"] for row in rows(result)) == images_of(folder)
        assert f"{NOT_FINITE} (encode)" in result.stderr
    kept = run("cache", "info", "--format", "json")
    assert all(row.get("kind") != "image" or not row.get("vectors") for row in json.loads(kept.stdout or "[]"))


def test_calibrate_ends_with_the_models_exit_code(options: list[str], folder: Path, tmp_path: Path):
    target = tmp_path / "thresholds.json"
    result = run("calibrate", folder, "-o", target, *options, "--format", "json")
    assert result.code == 5
    assert "the model gave no image a usable vector" in result.stderr
    assert not target.exists()


@pytest.mark.parametrize("config", ['labels = ["red", "green"]\nforbid = ["red"]', 'duplicates = "similar"'])
def test_a_check_does_not_hold_for_images_without_a_vector(config: str, bad_bundle: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f'model = "{bad_bundle}"\n[checks.shapes]\ninclude = ["**/*.png"]\n{config}\n'
    (tmp_path / "clipcli.toml").write_text(text, encoding="utf-8")
    pictures.make_folder(tmp_path)
    result = run("check", "--config", tmp_path / "clipcli.toml")
    assert result.code == 1, result.stderr
    assert result.stderr.count(f"{NOT_FINITE} (encode)") == 8


def test_verify_says_which_tower(bad_images: str, bad_word: str, bad_bundle: str, random_model: str):
    for model, tower in ((bad_images, "image"), (bad_bundle, "image")):
        assert_one_error(run("models", "verify", model), f"its {tower} tower gave numbers that are not finite")
    for model in (random_model, bad_word):  # one word of 49,408 is not looked at
        result = run("models", "verify", model, "--format", "jsonl")
        assert (result.code, {row["fact"]: row["value"] for row in rows(result)}["vectors"]) == (0, "finite")


def test_what_looks_at_no_vector_still_answers(bad_images: str):
    assert run("models", "info", bad_images).code == 0


@pytest.mark.slow
def test_bench_measures_no_model_that_gives_nothing(bad_images: str):
    result = run("models", "bench", bad_images, "--seconds", "0.1")
    assert (result.code, NOT_FINITE in result.stderr) == (5, True), result.stderr


@pytest.mark.parametrize(
    "command",
    [("classify", "-l", "disc,square"), ("rank", "-e", "square"), ("rank", "-e", "disc - square"), ("calibrate",)],
    ids=" ".join,
)
def test_a_label_or_query_without_a_vector_is_named(command: tuple[str, ...], bad_word: str, folder: Path, tmp_path):
    name, *rest = command
    target = ["-o", tmp_path / "thresholds.json"] if name == "calibrate" else []
    result = run(name, folder, *rest, *target, "-m", bad_word, "--engine", "openclip", "--format", "json")
    assert result.code == 5, result.stderr
    assert "error: " in result.stderr
    assert NOT_FINITE in result.stderr
    assert "'square'" in result.stderr
    assert result.stdout.strip() in {"", "[]"}


def test_other_queries_are_answered(bad_word: str, folder: Path):
    queries = ["-e", "a disc", "-e", "a square", "-e", "a disc + a square"]
    result = run("rank", folder, *queries, "-m", bad_word, "--engine", "openclip", "--format", "jsonl")
    assert result.code == 3, result.stderr
    found = rows(result)
    assert [row for row in found if "error" in row] == [{"query": "a square", "error": ERROR}]
    assert {row["query"] for row in found if "score" in row} == {"a disc"}
    for form in ("table", "tsv", "csv"):
        other = run("rank", folder, *queries, "-m", bad_word, "--engine", "openclip", "--format", form)
        assert (other.code, "a square" in other.stdout, NOT_FINITE in other.stdout) == (3, True, True)


@pytest.mark.parametrize("prompts", [(), ("--prompts", "photo")])
def test_other_texts_are_embedded(prompts: tuple[str, ...], bad_word: str, tmp_path: Path):
    texts = ["-t", "a disc", "-t", "a square", "-t", "a house"]
    model = ["-m", bad_word, "--engine", "openclip"]
    result = run("embed", *texts, *prompts, *model, "--format", "jsonl")
    assert result.code == 3, result.stderr
    assert [row.get("error") for row in result.rows] == [None, ERROR, None]
    assert run("embed", *texts, *prompts, *model, "-o", tmp_path / "texts.npy").code == 3
    assert np.isfinite(np.load(tmp_path / "texts.npy")).all()
    assert len(np.load(tmp_path / "texts.npy")) == 2
    assert run("embed", "-t", "square", *prompts, *model).code == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 200.0], ids=str)
def test_scores_without_a_scale_are_refused_at_once(value: float, random_model: str, folder: Path, tmp_path: Path):
    model = poisoned(random_model, tmp_path / "model", "logit_scale", (), value)
    result = run("classify", folder, "-l", "disc,house", "-m", model, "--engine", "openclip")
    assert_one_error(result, "scale or bias of its scores is not finite")


def test_what_half_precision_cannot_hold_is_computed_again(random_model: str, folder: Path, tmp_path: Path):
    source = Path(random_model.removeprefix("local-dir:"))
    shutil.copytree(source, tmp_path / "model")
    weights = load_file(source / "open_clip_model.safetensors")
    weights["visual.proj"] *= 1e6  # beyond 65,504, the most that fp16 can hold
    save_file(weights, tmp_path / "model" / "open_clip_model.safetensors")
    model = ["-m", f"local-dir:{tmp_path / 'model'}", "--engine", "openclip", "--format", "jsonl"]
    half = run("embed", folder, *model, "--precision", "fp16", "--device", "cpu")
    assert half.code == 0, half.stderr
    assert half.stderr.count(f"{NOT_FINITE} in fp16; those inputs are computed again in fp32") == 1
    full = run("embed", folder, *model, "--precision", "fp32")
    ours, theirs = (np.array([row["embedding"] for row in result.rows]) for result in (half, full))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    again = run("embed", folder, *model, "--precision", "fp16", "--device", "cpu")
    assert again.rows == half.rows
    assert NOT_FINITE not in again.stderr


@pytest.mark.parametrize("command", [("classify", "-l", "red,blue"), ("rank", "-e", "blue")], ids=" ".join)
def test_a_bundle_names_what_has_no_vector(command: tuple[str, ...], bad_bundle: str, folder: Path):
    name, *rest = command
    result = run(name, folder, *rest, "--prompts", "plain", "-m", bad_bundle)
    assert (result.code, result.stdout) == (5, ""), result.stderr
    assert f"{NOT_FINITE} for 'blue'" in result.stderr or f"'blue' cannot be used: {NOT_FINITE}" in result.stderr


def test_a_picture_that_the_model_has_no_answer_to_is_one_row(tmp_path: Path):
    for name, colour in (("white", "white"), ("red", "red")):
        pictures.Image.new("RGB", (40, 40), colour).save(tmp_path / f"{name}.png")
    model = colour_model.save(tmp_path / "colours")  # to it, white is no colour at all
    for command in (
        ("classify", "-l", "red,blue", "--prompts", "plain"),
        ("embed",),
        ("rank", "-e", "red"),
        ("dedupe",),
    ):
        result = run(command[0], tmp_path / "white.png", tmp_path / "red.png", *command[1:], "-m", model)
        assert result.code == 3, result.stderr
        assert f"white.png: {ALL_ZERO} (encode)" in result.stderr


@pytest.mark.slow
def test_a_bundle_is_not_made_of_a_model_without_vectors(bad_images: str, bad_word: str, tmp_path: Path):
    pulled = run("models", "pull", bad_images)
    assert (pulled.code, "no fast-starting copy" in pulled.stderr) == (0, True), pulled.stderr
    refused = run("models", "export", bad_images, "-o", tmp_path / "bundle")
    assert refused.code == 5, refused.stderr
    assert not (tmp_path / "bundle").exists()


def test_damage_behind_the_last_token_does_no_harm(random_model: str, folder: Path, tmp_path: Path):
    model = poisoned(random_model, tmp_path / "model", "positional_embedding", (70, 0))
    result = run("classify", folder, "-l", "disc,house", "-m", model, "--engine", "openclip")
    assert result.code == 0, result.stderr
