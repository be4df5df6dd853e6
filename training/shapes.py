"""Simple drawings with known shape, colour and count."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from training.concepts import COLOURS, COUNTS, SHAPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

Point = tuple[float, float]
RGB = dict(
    zip(
        COLOURS,
        [
            (220, 30, 30),
            (245, 140, 20),
            (245, 220, 40),
            (40, 160, 60),
            (40, 80, 210),
            (130, 50, 170),
            (245, 130, 185),
            (120, 75, 40),
            (15, 15, 15),
            (250, 250, 250),
            (130, 130, 130),
            (50, 200, 200),
        ],
        strict=True,
    )
)
LARGE = 4  # drawn this many times larger, then reduced: smooth edges


def outline(shape: str) -> list[Point]:
    """A shape's outline in the unit circle."""
    if shape in {"circle", "ring", "oval", "crescent"}:
        flat = 0.6 if shape == "oval" else 1.0
        return [(math.cos(a), flat * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 60)]
    regular = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6}
    if shape in regular:
        n = regular[shape]
        turn = math.pi / n if n % 2 == 0 else 0
        return [(math.sin(2 * math.pi * i / n + turn), -math.cos(2 * math.pi * i / n + turn)) for i in range(n)]
    if shape == "star":
        radii = [1.0, 0.42] * 5
        return [(r * math.sin(math.pi * i / 5), -r * math.cos(math.pi * i / 5)) for i, r in enumerate(radii)]
    if shape == "heart":
        turns = np.linspace(0, 2 * math.pi, 60)
        height = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
        return [(math.sin(t) ** 3, -h / 17) for t, h in zip(turns, height, strict=True)]
    w = 0.33
    cross = [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)]
    others: dict[str, list[Point]] = {
        "rectangle": [(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)],
        "diamond": [(0, -1), (0.65, 0), (0, 1), (-0.65, 0)],
        "cross": [(float(x), float(y)) for x, y in cross],
        "arrow": [(-1, -0.22), (0.15, -0.22), (0.15, -0.65), (1, 0), (0.15, 0.65), (0.15, 0.22), (-1, 0.22)],
    }
    return others[shape]


def places(count: int, rng: random.Random) -> list[tuple[float, float, float]]:
    """Centre and radius of each of `count` shapes that do not touch, in 0..1."""
    columns = math.ceil(math.sqrt(count))
    cells = rng.sample([(x, y) for x in range(columns) for y in range(columns)], count)
    size = 1 / columns
    found = []
    for x, y in cells:
        radius = size * rng.uniform(0.24 if count > 1 else 0.18, 0.44)
        shift = size / 2 - radius
        found.append(
            ((x + 0.5) * size + rng.uniform(-shift, shift), (y + 0.5) * size + rng.uniform(-shift, shift), radius)
        )
    return found


def placed(points: list[Point], place: tuple[float, float, float], turn: float, side: int) -> list[Point]:
    """An outline turned, then moved and scaled to its place, in pixels."""
    cx, cy, radius = place
    cos, sin = math.cos(turn), math.sin(turn)
    return [(side * (cx + radius * (x * cos - y * sin)), side * (cy + radius * (x * sin + y * cos))) for x, y in points]


def draw(shape: str, colour: str, count: int, size: int, rng: random.Random) -> Image.Image:
    """`count` shapes of one colour on a plain background of another."""
    jitter = [max(0, min(255, c + rng.randint(-18, 18))) for c in RGB[colour]]
    ground = RGB[rng.choice([c for c in [*COLOURS, *["white", "black"] * 5] if c != colour])]
    side = size * LARGE
    image = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(image)
    for place in places(count, rng):
        turn = rng.choice([0, 0, 0.3, -0.3, math.pi / 2]) if shape == "arrow" else rng.uniform(-0.25, 0.25)
        pen.polygon(placed(outline(shape), place, turn, side), fill=tuple(jitter))
        if shape in {"ring", "crescent"}:
            scale, shift = (0.55, 0.0) if shape == "ring" else (0.85, 0.4)
            hole = [(scale * x + shift, scale * y) for x, y in outline("circle")]
            pen.polygon(placed(hole, place, 0.0, side), fill=ground)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def drawings(number: int, size: int, seed: int) -> tuple[NDArray[np.uint8], list[tuple[str, str, str]]]:
    """Pictures and their shape, colour and count."""
    rng = random.Random(seed)
    labels = [(rng.choice(SHAPES), rng.choice(COLOURS), rng.choice([0, 0, 0, 1, 2, 3, 4, 5])) for _ in range(number)]
    pixels = np.stack([np.asarray(draw(shape, colour, n + 1, size, rng)) for shape, colour, n in labels])
    return pixels, [(shape, colour, COUNTS[n]) for shape, colour, n in labels]
