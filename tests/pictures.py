"""Small pictures that tests draw for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from pathlib import Path

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "yellow": (240, 220, 40)}


def disc(colour: str, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """A disc of one colour on white."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((8, 8, size[0] - 8, size[1] - 8), fill=COLOURS[colour])
    return image


def square(colour: str, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """A square of one colour on white."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle((12, 12, size[0] - 12, size[1] - 12), fill=COLOURS[colour])
    return image


def make_folder(root: Path) -> Path:
    """`disc/` and `square/`, a PNG a colour in each."""
    for name, draw in (("disc", disc), ("square", square)):
        (root / name).mkdir()
        for colour in COLOURS:
            draw(colour).save(root / name / f"{colour}.png")
    return root
