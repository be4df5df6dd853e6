from __future__ import annotations

import math

import pytest
import torch

from training.colours import dominant, may_turn, named, turned
from training.concepts import COLOURS
from training.shapes import RGB


def plain(colour: tuple[float, ...], size: int = 2) -> torch.Tensor:
    return torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, size, size) / 255


@pytest.mark.parametrize("colour", COLOURS)
def test_the_colours_of_drawn_shapes_have_their_names(colour):
    assert {COLOURS[i] for i in named(plain(RGB[colour])).flatten().tolist()} == {colour}


def test_a_turned_hue_keeps_grey_and_goes_round():
    picture = torch.rand(3, 4, 5, 5, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    third = torch.full((3,), 2 * math.pi / 3)
    once = turned(picture, third)
    assert torch.allclose(once[:, :3], picture[:, [2, 0, 1]], atol=1e-6)
    assert torch.equal(once[:, 3], picture[:, 3])
    grey = torch.full((1, 4, 2, 2), 0.4)
    assert torch.allclose(turned(grey, torch.tensor([1.0])), grey)


def test_most_of_a_picture_decides_and_only_where_it_is_opaque():
    picture = torch.cat([plain(RGB["red"], 4), plain(RGB["blue"], 4)], dim=3)
    opaque = torch.ones(1, 1, 4, 8)
    assert dominant(picture, opaque).tolist() == [-1]
    opaque[..., 4:6] = 0
    assert dominant(picture, opaque).tolist() == [COLOURS.index("red")]
    assert dominant(picture, torch.zeros(1, 1, 4, 8)).tolist() == [-1]


def test_names_that_say_a_colour_keep_it():
    assert may_turn(["car", "red apple", "flag of Chad", "Orange Book", "dog"]).tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]
