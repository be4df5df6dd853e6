"""The rows of `detect`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

_DIGITS = 4
_JSON_DIGITS = 6


@dataclass(frozen=True)
class DetectedRow:
    """One box of one image."""

    image: str
    label: str
    score: float
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels of the upright image; x1 and y1 are not part of it."""
    columns: ClassVar[tuple[str, ...]] = ("image", "label", "score", "box")

    @property
    def path(self) -> str:
        """In a list of bare paths: the image, once for each box."""
        return self.image

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        score = round(self.score, _JSON_DIGITS)
        return {"image": self.image, "label": self.label, "score": score, "box": list(self.box)}

    def cells(self) -> list[tuple[str, ...]]:
        """One line."""
        return [(self.image, self.label, f"{self.score:.{_DIGITS}f}", ",".join(map(str, self.box)))]


@dataclass(frozen=True)
class ImageRow:
    """One image that could be read, for formats that list images too; its boxes follow."""

    image: str
    size: tuple[int, int]
    """Width and height of the upright image."""
    columns: ClassVar[tuple[str, ...]] = ("image", "size")

    @property
    def path(self) -> str:
        """In a list of bare paths: the image."""
        return self.image

    def record(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return {"image": self.image, "size": list(self.size)}

    def cells(self) -> list[tuple[str, ...]]:
        """One line."""
        return [(self.image, ",".join(map(str, self.size)))]
