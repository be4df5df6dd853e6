"""Colours of pictograms: which one most of a picture has, and the same picture in another.

A name says nothing of the colour of its pictogram, so the pixels are asked. Turning the hue gives cars that are blue
and cars that are green, so that a colour and a thing are learnt apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from training.concepts import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterable

MAJORITY = 0.5  # of the opaque pixels must share the colour that a picture is said to have
DARK, LIGHT = 0.22, 0.86  # brightness of black and of white
PALE = 0.16  # saturation below which a pixel has no hue
HUES = [(15, "red"), (42, "orange"), (68, "yellow"), (165, "green"), (195, "turquoise"), (255, "blue")]
HUES += [(288, "purple"), (345, "pink"), (360, "red")]  # up to which degree
BROWN_VALUE = 0.62  # an orange that is darker is brown
PINK_SATURATION = 0.5  # a red that is paler, and bright, is pink
NAMED = re.compile(r"\b(?:flags?|circle|square|heart|diamond|light|moon|" + "|".join(COLOURS) + r")\b")


def may_turn(names: Iterable[str]) -> torch.Tensor:
    """Which pictograms keep their name in another colour: a flag, "red apple" and "green book" do not."""
    return torch.tensor([NAMED.search(name.lower()) is None for name in names])


def turned(drawn: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """RGBA pictures (B, 4, H, W) with their hues turned by `angles` (B, radians) about the grey axis."""
    cos, sin = torch.cos(angles), torch.sin(angles) / 3**0.5
    third = (1 - cos) / 3
    matrix = torch.stack(
        [cos + third, third - sin, third + sin], dim=1
    )  # a rotation: each row is the one above, moved on
    rows = torch.stack([matrix, matrix.roll(1, 1), matrix.roll(2, 1)], dim=1)
    colours = torch.einsum("bij,bjhw->bihw", rows, drawn[:, :3]).clamp(0, 1)
    return torch.cat([colours, drawn[:, 3:]], dim=1)


def named(pixels: torch.Tensor) -> torch.Tensor:
    """The number in COLOURS of every pixel of (B, 3, H, W) in 0..1."""
    high, low = pixels.amax(1), pixels.amin(1)
    span = (high - low).clamp(min=1e-6)
    red, green, blue = pixels.unbind(1)
    hue = torch.where(
        high == red,
        ((green - blue) / span) % 6,
        torch.where(high == green, (blue - red) / span + 2, (red - green) / span + 4),
    )
    hue, saturation = hue * 60, span / high.clamp(min=1e-6)
    limits = torch.tensor([float(limit) for limit, _ in HUES])
    of_hue = torch.tensor([COLOURS.index(name) for _, name in HUES])
    found = of_hue[torch.bucketize(hue, limits).clamp(max=len(HUES) - 1)]

    def where(mask: torch.Tensor, colour: str) -> None:
        found[mask] = COLOURS.index(colour)

    where((hue >= HUES[0][0] / 2) & (hue < HUES[1][0] + 5) & (high < BROWN_VALUE), "brown")
    where((found == COLOURS.index("red")) & (saturation < PINK_SATURATION) & (high > BROWN_VALUE), "pink")
    where(saturation < PALE, "grey")
    where((saturation < PALE) & (high > LIGHT), "white")
    where(high < DARK, "black")
    return found


def dominant(pixels: torch.Tensor, opaque: torch.Tensor) -> torch.Tensor:
    """The number in COLOURS of the colour that most opaque pixels of each picture have; -1 where none has most."""
    colours = named(pixels).flatten(1)
    weights = opaque.flatten(1)
    counts = torch.zeros(len(pixels), len(COLOURS)).scatter_add_(1, colours, weights)
    share, best = (counts / weights.sum(1, keepdim=True).clamp(min=1e-6)).max(1)
    return torch.where(share > MAJORITY, best, -1)
