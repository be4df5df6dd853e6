"""`detect` with detection models: from a hub's cache or a folder, to rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_detectors
from PIL import Image
from run import assert_one_error, run

pytest.importorskip("transformers", reason="needs clipcli[torch]")
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module", params=small_detectors.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_detectors.save(kind, tmp_path_factory.mktemp("saved"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    return tmp_path / "hub"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Wide, tall, and tall by its EXIF orientation only: the last two show the same."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    tall = Image.fromarray(coarse).resize((60, 90), Image.Resampling.BICUBIC)
    tall.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "wide.png")
    tall.save(tmp_path / "tall.png")
    lying, exif = tall.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "turned.png", exif=exif)
    return [tmp_path / name for name in ("wide.png", "tall.png", "turned.png")]


def detect(*arguments: str | Path):
    return run("detect", *arguments, "-l", "a dog,ball", "--format", "jsonl", "--offline")


def test_an_alias_and_a_repository_are_found_in_the_hubs_cache(kind: str, folder: Path, hub: Path, photos: list[Path]):
    repository = small_detectors.REPOSITORIES[kind]
    small_detectors.put_into_hub_cache(folder, repository, hub)
    alias = detect(*photos, "-m", kind, "--threshold", "0.2")
    assert alias.code == 0, alias.stderr
    assert len(alias.rows) > 3
    assert "coarse" not in alias.stderr
    for name in (repository, f"hf-hub:{repository}", f"hf-hub:{repository}@main", f"local-dir:{folder}", str(folder)):
        assert detect(*photos, "-m", name, "--threshold", "0.2").rows == alias.rows


def test_models_pull_takes_detection_models(kind: str, folder: Path, hub: Path):
    repository = small_detectors.REPOSITORIES[kind]
    missing = run("models", "pull", kind, "--offline")
    assert_one_error(missing, repository, code=5)
    small_detectors.put_into_hub_cache(folder, repository, hub)
    result = run("models", "pull", kind, "--offline")
    assert result.code == 0, result.stderr
    assert f"hf-hub:{repository} is here (fingerprint " in result.stderr


def test_boxes_lie_in_the_upright_picture(folder: Path, photos: list[Path]):
    result = detect(*photos, "-m", f"local-dir:{folder}", "--threshold", "0.0", "--multi-label")
    assert result.code == 0, result.stderr
    by_image: dict[str, list] = {str(path): [] for path in photos}
    for row in result.rows:
        by_image[row["image"]].append(row)
    sizes = {"wide.png": (90, 60), "tall.png": (60, 90), "turned.png": (60, 90)}
    for path, rows in by_image.items():
        width, height = sizes[Path(path).name]
        assert rows == sorted(rows, key=lambda row: -row["score"])
        for x0, y0, x1, y1 in (row["box"] for row in rows):
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
    tall, turned = by_image[str(photos[1])], by_image[str(photos[2])]
    assert [{**row, "image": ""} for row in tall] == [{**row, "image": ""} for row in turned]


def test_the_size_of_a_batch_changes_nothing(folder: Path, photos: list[Path]):
    asked = (*photos, "-m", f"local-dir:{folder}", "--threshold", "0.2")
    one, all_at_once = detect(*asked, "--batch-size", "1").rows, detect(*asked, "--batch-size", "8").rows
    assert [(row["image"], row["label"], row["box"]) for row in one] == [
        (row["image"], row["label"], row["box"]) for row in all_at_once
    ]
    np.testing.assert_allclose([row["score"] for row in one], [row["score"] for row in all_at_once], atol=1e-5)


def test_a_bad_picture_is_a_row_among_others(folder: Path, photos: list[Path], tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    result = detect(photos[0], tmp_path / "broken.jpg", photos[1], "-m", f"local-dir:{folder}", "--threshold", "0.2")
    assert result.code == 3
    names = list(dict.fromkeys(Path(row["image"]).name for row in result.rows))
    assert names == ["wide.png", "broken.jpg", "tall.png"]


def test_a_list_on_stdin(folder: Path, photos: list[Path]):
    listed = "".join(f"{path}\n" for path in photos).encode()
    model = ("-m", f"local-dir:{folder}", "--threshold", "0.2", "-l", "a dog,ball", "--format", "jsonl")
    assert run("detect", "-", *model, stdin=listed).rows == detect(*photos, *model[:4]).rows


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_pickled_weights_are_refused(folder: Path, photos: list[Path], tmp_path: Path):
    broken = copied(folder, tmp_path / "pickled")
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    assert_one_error(detect(photos[0], "-m", f"local-dir:{broken}"), "has no model.safetensors", "pickled")


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_configs_that_name_code_are_refused(folder: Path, photos: list[Path], tmp_path: Path, file: str):
    broken = copied(folder, tmp_path / "code")
    config = json.loads((broken / file).read_text())
    (broken / file).write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    assert_one_error(detect(photos[0], "-m", f"local-dir:{broken}"), file, "names code")


def test_weights_of_another_shape_are_refused(folder: Path, photos: list[Path], tmp_path: Path):
    from safetensors.torch import load_file, save_file

    broken = copied(folder, tmp_path / "other")
    weights = load_file(broken / "model.safetensors")
    weights.pop(max(weights))
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    assert_one_error(detect(photos[0], "-m", f"local-dir:{broken}"), "lacks 1 of the model's weights")
    (broken / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    assert_one_error(detect(photos[0], "-m", f"local-dir:{broken}"), "damaged")


def test_parts_of_other_kinds_are_refused(kind: str, folder: Path, photos: list[Path], tmp_path: Path):
    broken = copied(folder, tmp_path / "parts")
    config = json.loads((broken / "config.json").read_text())
    config["text_config"]["model_type"] = "llama"
    (broken / "config.json").write_text(json.dumps(config))
    assert_one_error(detect(photos[0], "-m", f"local-dir:{broken}"), "unknown kind of text_config", "llama")


def test_what_is_not_here_is_said(kind: str, hub: Path, photos: list[Path]):
    assert_one_error(detect(photos[0], "-m", kind), "config.json of", "is not on this disk")
    result = run("classify", photos[0], "-l", "cat", "-m", kind)
    assert_one_error(result, "is a detection model", f"clipcli detect -m {kind}")
    assert_one_error(detect(photos[0], "-m", kind, "--engine", "onnx"), "--engine onnx cannot run", code=2)
