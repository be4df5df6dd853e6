from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from clipcli.core.encoder import Preprocessing
from clipcli.images.preprocess import to_pixels
from training.views import IMAGE_SIZE, MEAN, STD, line_drawing, on_ground, prepare, view


@pytest.mark.parametrize("size", [(240, 240), (500, 333), (97, 180), (32, 32)])
def test_pictures_are_prepared_as_the_bundle_says(size):
    pixels = np.random.default_rng(3).integers(0, 255, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    side = (IMAGE_SIZE, IMAGE_SIZE)
    how = Preprocessing(side, tuple(MEAN), tuple(STD), "bicubic", "shortest", 0)
    apart = np.abs(prepare(image) - to_pixels(image, how))
    assert (apart > 1e-5).mean() <= 0.02  # the middle may be cut half a pixel to one side
    assert apart.shape == (3, *side)


def test_drawings_stand_on_white():
    assert on_ground(Image.new("RGBA", (2, 2), (255, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert on_ground(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize(("mode", "kind", "size"), [
    ("RGB", "photo", (60, 90)), ("RGB", "photo", (32, 32)), ("L", "photo", (9, 200)), ("RGBA", "emoji", (80, 80)),
    ("RGB", "lines", (128, 100)), ("RGBA", "lines", (50, 70)),
])  # fmt: skip
def test_a_seed_decides_how_a_picture_is_changed(mode, kind, size):
    image = Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), 50).convert(mode)
    shown = [prepare(view(image, kind, random.Random(seed))) for seed in (1, 1, 2)]  # noqa: S311 - repeatable on purpose
    assert np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[0], shown[2])
    assert view(image, kind).size == size


def test_a_line_drawing_shows_the_edges_and_no_frame():
    image = Image.new("RGBA", (120, 120), (255, 0, 0, 255))
    ImageDraw.Draw(image).ellipse((30, 30, 90, 90), fill=(255, 0, 200, 255))
    drawn = np.asarray(line_drawing(image).convert("L"))
    assert drawn[0].min() == 255
    assert drawn[len(drawn) // 2].min() < 100
    assert drawn[len(drawn) // 2, len(drawn) // 2] == 255
