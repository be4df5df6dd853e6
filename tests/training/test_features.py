from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from training import features
from training.rows import Row

ROWS = [Row("a.zip", f"{at}.jpg", "a", ("x",), held_out=False) for at in range(10)]


class Reader:
    """Remembers what was read."""

    def __init__(self) -> None:
        self.read_paths: list[str] = []

    def read(self, row: Row) -> Image.Image:
        self.read_paths.append(row.path)
        return Image.new("RGB", (240, 240), (len(self.read_paths), 0, 0))


class Engine:
    """Gives the first numbers of a picture."""

    def __init__(self, file, precision) -> None:
        assert precision in {"f32", "bf16"}

    def run(self, count, pixels):
        given = np.stack([pixels(at) for at in range(count)]).astype(np.float16)
        return [given[:, :1, :2, :2], given.reshape(count, -1)[:, :1280]]


@pytest.fixture
def reader(monkeypatch) -> Reader:
    monkeypatch.setattr(features, "CHUNK", 4)
    monkeypatch.setattr(features, "VIEWS", 2)
    monkeypatch.setattr(features, "Engine", Engine)
    return Reader()


def test_a_stopped_run_goes_on_with_the_missing_files(tmp_path, reader):
    features.compute(ROWS, reader, tmp_path / "body.onnx", tmp_path)
    names = [f"{view}-{chunk:03d}.npy" for view in range(2) for chunk in range(3)]
    assert sorted(path.name for path in (tmp_path / "features").iterdir()) == names
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == names
    (tmp_path / "features" / "1-001.npy").unlink()
    reader.read_paths.clear()
    features.compute(ROWS, reader, tmp_path / "body.onnx", tmp_path)
    assert reader.read_paths == ["4.jpg", "5.jpg", "6.jpg", "7.jpg"]


def test_what_was_computed_is_read_again_with_its_rows(tmp_path, reader):
    (tmp_path / "rows.json").write_text(json.dumps([asdict(row) for row in ROWS]))
    features.compute(ROWS, reader, tmp_path / "body.onnx", tmp_path)
    rows, values = features.load(tmp_path)
    assert rows == ROWS
    assert values.shape == (10, 1280)
    assert values[:, 0].diff().min() > 0
    (tmp_path / "features" / "0-001.npy").unlink()
    assert features.load(tmp_path)[0] == ROWS[:4] + ROWS[8:]


@pytest.mark.thorough
def test_the_tower_is_cut_in_two_without_a_change():
    timm = pytest.importorskip("timm")
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    pixels = torch.rand(1, 3, 240, 240)
    with torch.inference_mode():
        maps, pooled = features.Body(model)(pixels)
        assert maps.shape == (1, 112, 15, 15)
        assert torch.allclose(model.classifier(pooled), model(pixels), atol=1e-4)
