from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from training.augment import Augmenter, normalised
from training.concepts import COLOURS, SHAPES
from training.pictures import square
from training.shapes import RGB, drawings, outline, places


def augmenter(seed=0):
    return Augmenter(16, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_stay_in_the_unit_square(shape):
    assert np.abs(np.array(outline(shape))).max() <= 1.0001


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_shapes_do_not_touch(count):
    found = places(count, random.Random(count))  # noqa: S311 - places of shapes are no secret
    assert len(found) == count
    for i, (x, y, r) in enumerate(found):
        assert r <= x <= 1 - r
        assert r <= y <= 1 - r
        for other_x, other_y, other in found[:i]:
            assert max(abs(x - other_x), abs(y - other_y)) >= r + other


def test_drawings_are_repeatable_and_labelled():
    pixels, labels = drawings(6, 24, seed=3)
    again, same = drawings(6, 24, seed=3)
    assert np.array_equal(pixels, again)
    assert labels == same
    assert pixels.shape == (6, 24, 24, 3)
    assert all(shape in SHAPES and colour in COLOURS for shape, colour, _ in labels)
    assert set(RGB) == set(COLOURS)


def test_square_keeps_the_middle():
    image = Image.new("RGB", (30, 10), "red")
    image.paste("blue", (10, 0, 20, 10))
    assert square(image, 10).getcolors() == [(100, (0, 0, 255))]


def test_augmented_batches_repeat_with_their_seed():
    batch = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    first, second = augmenter(5).photos(batch), augmenter(5).photos(batch)
    assert torch.equal(first, second)
    assert first.shape == (4, 3, 16, 16)
    assert not torch.equal(first, augmenter(6).photos(batch))
    assert 0 <= first.min() <= first.max() <= 1


def test_transparent_pictograms_show_only_the_ground():
    ground = torch.full((2, 3, 16, 16), 0.25)
    drawn = torch.zeros(2, 4, 20, 20)
    placed, opaque = augmenter().pictograms(drawn, ground)
    assert torch.allclose(placed, ground)
    assert not opaque.any()


def test_opaque_pictograms_cover_some_of_the_ground():
    drawn = torch.ones(3, 4, 20, 20)
    placed, opaque = augmenter().pictograms(drawn, torch.zeros(3, 3, 16, 16))
    assert torch.equal(placed, opaque.expand(-1, 3, -1, -1))
    share = placed.mean((1, 2, 3))
    assert ((share > 0.1) & (share <= 1)).all()


def test_normalised_is_what_open_clip_does():
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    pixels = torch.rand(1, 3, 2, 2)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    assert torch.allclose(normalised(pixels), (pixels - mean) / std)
