"""How a picture is shown to the tower: as the model prepares it, or changed a little, by a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

IMAGE_SIZE = 240
"""The whole short side at 240 px shows things as large as the starting weights saw them in training."""
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
SMALL = 48
"""Pictures of fewer pixels than this on the short side are blurred enough."""
GROUNDS = ("white", "white", "white", "black", "#f2f2f2", "#dfe8f5", "#fdf3d8", "#2b2f3a", "#8fb8de", "#d9ead3")


def on_ground(image: Image.Image, colour: str = "white") -> Image.Image:
    """An image in RGB, what is transparent in one colour."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    ground = Image.new("RGB", image.size, colour)
    ground.paste(image, (0, 0), image)
    return ground


def prepare(image: Image.Image) -> NDArray[np.float32]:
    """As the model's own preprocessing: short side to 240, middle square; float32 (3, 240, 240) in -1..1."""
    scale = IMAGE_SIZE / min(image.size)
    size = (max(IMAGE_SIZE, int(image.width * scale)), max(IMAGE_SIZE, int(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - IMAGE_SIZE) // 2, (image.height - IMAGE_SIZE) // 2
    cut = np.asarray(image.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE)), np.float32)
    return (cut.transpose(2, 0, 1) / 255 - 0.5) / 0.5


def line_drawing(image: Image.Image) -> Image.Image:
    """The edges of a drawing in black on white, wherever a colour channel changes."""
    flat = ImageOps.expand(on_ground(image), border=image.width // 12, fill="white").filter(ImageFilter.SMOOTH)
    red, green, blue = flat.filter(ImageFilter.FIND_EDGES).split()
    edges = ImageChops.lighter(red, ImageChops.lighter(green, blue)).crop((1, 1, flat.width - 1, flat.height - 1))
    return ImageOps.invert(edges.point(lambda value: min(255, 3 * max(0, value - 20)))).convert("RGB")


def view(image: Image.Image, kind: str, draw: random.Random | None = None) -> Image.Image:
    """A picture in RGB: as it is without `draw`, else changed in the ways that suit its kind (`Row.kind`)."""
    if draw is None:
        return on_ground(image)
    if kind == "photo":
        return _photo(on_ground(image), draw)
    ground = draw.choice(GROUNDS) if kind == "emoji" else "white"
    return _drawing(image, kind, ground, draw)


def _photo(image: Image.Image, draw: random.Random) -> Image.Image:
    """Another crop and other light, sometimes few pixels or no colour."""
    small = min(image.size) < SMALL
    area, aspect = draw.uniform(0.65 if small else 0.45, 1), draw.uniform(0.8, 1.25) ** 0.5
    short = min(image.size) * area**0.5
    width, height = (min(side, max(8, round(short * ratio)))
                     for side, ratio in zip(image.size, (aspect, 1 / aspect), strict=True))  # fmt: skip
    left, top = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
    image = image.crop((left, top, left + width, top + height))
    if draw.random() < 0.5:
        image = ImageOps.mirror(image)
    if not small and draw.random() < 0.25:
        pixels = draw.randint(24, 80)
        image = image.resize((pixels, max(8, pixels * image.height // image.width)), Image.Resampling.BOX)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(draw.uniform(0.7, 1.3))
    return image.convert("L").convert("RGB") if draw.random() < 0.07 else image


def _drawing(image: Image.Image, kind: str, ground: str, draw: random.Random) -> Image.Image:
    """Turned, moved, larger or smaller on a ground; lines sometimes thicker, and mirrored."""
    if kind == "lines":
        image = on_ground(image)
        image = ImageOps.mirror(image) if draw.random() < 0.5 else image
        image = image.filter(ImageFilter.MinFilter(3)) if draw.random() < 0.4 else image
    image = image.convert("RGBA").rotate(draw.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    side = round(max(image.size) * draw.uniform(0.8, 1.3))
    canvas = Image.new("RGB", (side, side), ground)
    place = tuple((side - length) // 2 + round(side * draw.uniform(-0.06, 0.06)) for length in image.size)
    canvas.paste(image, place, image)
    return canvas
