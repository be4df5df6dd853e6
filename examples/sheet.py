"""A small drawing kit on Pillow: smooth outlined shapes on a white square, the same pixels every time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

    Points = Sequence[tuple[float, float]]

SIDE = 256
FINE = 8  # drawn this many times larger, then averaged: smooth edges from plain integer arithmetic
INK = "#33302e"
LINE = 6.0


class Sheet:
    """A white square of 256 units with shapes that are filled and outlined in one go."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (SIDE * FINE, SIDE * FINE), "white")
        self.draw = ImageDraw.Draw(self.image)

    def finished(self) -> Image.Image:
        """The picture at its real size."""
        return self.image.reduce(FINE)

    def shape(self, points: Points, fill: str, line: float = LINE) -> None:
        """A polygon with rounded corners as wide as its line."""
        corners = [(x * FINE, y * FINE) for x, y in points]
        self.draw.polygon(corners, fill)
        self.stroke([*points, points[0]], line)

    def blob(self, points: Points, fill: str, line: float = LINE) -> None:
        """A smooth closed curve through the points."""
        self.shape(smooth([points[-1], *points, *points[:2]]), fill, line)

    def curve(self, points: Points, line: float = LINE, colour: str = INK) -> None:
        """A smooth open curve through the points."""
        self.stroke(smooth([points[0], *points, points[-1]]), line, colour)

    def stroke(self, points: Points, line: float = LINE, colour: str = INK) -> None:
        """Straight lines with round ends and joints."""
        if not line:
            return
        scaled = [(x * FINE, y * FINE) for x, y in points]
        self.draw.line(scaled, colour, round(line * FINE))
        for x, y in points:
            self.dot(x, y, line / 2, colour)

    def dot(self, x: float, y: float, radius: float, colour: str = INK) -> None:
        """A filled disc without an outline."""
        self.draw.ellipse([(v * FINE) for v in (x - radius, y - radius, x + radius, y + radius)], colour)

    def oval(self, centre: tuple[float, float], radii: tuple[float, float], fill: str, line: float = LINE) -> None:
        """An ellipse; `radii` are across and down."""
        (x, y), (across, down) = centre, radii
        turns = [step * math.tau / 120 for step in range(120)]
        self.shape([(x + across * math.cos(turn), y + down * math.sin(turn)) for turn in turns], fill, line)


def smooth(points: Points) -> list[tuple[float, float]]:
    """Catmull-Rom through all but the first and the last point, which only give it its direction."""
    path = []
    for (ax, ay), (bx, by), (cx, cy), (dx, dy) in zip(points, points[1:], points[2:], points[3:], strict=False):
        for step in range(16):
            t = step / 16
            weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
            path.append(
                (
                    sum(w * v for w, v in zip(weights, (ax, bx, cx, dx), strict=True)) / 2,
                    sum(w * v for w, v in zip(weights, (ay, by, cy, dy), strict=True)) / 2,
                )
            )
    return [*path, points[-2]]


def mirrored(points: Points) -> list[tuple[float, float]]:
    """The right half for a left half."""
    return [(SIDE - x, y) for x, y in reversed(points)]
