from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from clipcli.core.encoder import Preprocessing
from clipcli.images.preprocess import to_pixels
from training import features
from training.features import CHUNK, MEAN, STD, Row, icon_name, on_white, prepare


@pytest.mark.parametrize("size", [(240, 240), (500, 333), (97, 180), (32, 32)])
def test_pictures_are_prepared_as_the_bundle_says(size):
    pixels = np.random.default_rng(3).integers(0, 255, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    side = (features.IMAGE_SIZE, features.IMAGE_SIZE)
    how = Preprocessing(side, tuple(MEAN), tuple(STD), "bicubic", "shortest", 0)
    apart = np.abs(prepare(image) - to_pixels(image, how))
    assert (apart > 1e-5).mean() <= 0.02  # the middle may be cut half a pixel to one side
    assert apart.shape == (3, *side)


def test_drawings_stand_on_white():
    assert on_white(Image.new("RGBA", (2, 2), (255, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert on_white(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)


def test_icon_names():
    assert icon_name("Woman's Hat") == "womans-hat"
    assert icon_name("top_arrow") == "top-arrow"


def test_a_stopped_run_goes_on_with_the_missing_files(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", 4)
    rows = [Row("a.zip", f"{at}.jpg", "a", ("x",), held_out=False) for at in range(10)]
    read = []

    class Reader:
        def read(self, row):
            read.append(row.path)
            return Image.new("RGB", (240, 240), (len(row.path), 0, 0))

    def model(pixels):
        return pixels.flatten(1)[:, :1280]

    features.compute(rows, Reader(), model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.npy", "001.npy", "002.npy"]
    (tmp_path / "001.npy").unlink()
    read.clear()
    features.compute(rows, Reader(), model, tmp_path)
    assert read == ["4.jpg", "5.jpg", "6.jpg", "7.jpg"]
    assert torch.from_numpy(np.load(tmp_path / "002.npy")).shape == (2, 1280)
    assert CHUNK == 1024
