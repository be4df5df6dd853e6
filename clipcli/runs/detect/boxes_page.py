"""The report of `detect`: images with their boxes drawn, label by label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

from clipcli.output.page import Card, Section, link_to, thumbnail, write_page
from clipcli.output.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.runs.detect.rows import DetectedRow

_EDGE: Final = 384
"""Pixels of the longer side; large enough that small boxes are visible."""
_SHOWN: Final = 200
"""Largest number of images of one label; more would make a page of tens of megabytes."""
_LISTED: Final = 5
"""Largest number of scores under an image."""
_LINE, _RIM = (225, 29, 72), (255, 255, 255)
"""Red with a white rim, visible on any picture."""


@dataclass
class BoxesPage:
    """Collects the boxes of each image, and writes the page at the end of the run."""

    path: str
    cards: dict[str, list[Card]] = field(default_factory=dict)
    """By label."""
    boxes: dict[str, int] = field(default_factory=dict)
    """Number of boxes per label."""
    images_with: dict[str, int] = field(default_factory=dict)
    """Number of images with boxes per label."""
    images: int = 0

    def take(self, image: Image.Image, path: str, rows: Sequence[DetectedRow]) -> None:
        """Add one image with its boxes, the best first."""
        self.images += 1
        by_label: dict[str, list[DetectedRow]] = {}
        for row in rows:
            by_label.setdefault(row.label, []).append(row)
        for label, own in by_label.items():
            self.boxes[label] = self.boxes.get(label, 0) + len(own)
            self.images_with[label] = self.images_with.get(label, 0) + 1
            if self.images_with[label] <= _SHOWN:
                self.cards.setdefault(label, []).append(self._card(image, path, own))

    def write(self, labels: Sequence[str], model: str) -> None:
        """Write the page, whole or not at all. Raises OutputError."""
        count = sum(self.boxes.values())
        lead = f"{count:,} boxes in {self.images:,} images, by {model}"
        with open_target(self.path) as target:
            write_page(target, f"clipcli detect: {', '.join(labels)[:80]}", lead, self._sections(labels))

    def _sections(self, labels: Sequence[str]) -> Iterator[Section]:
        for label in labels:
            cards = self.cards.get(label, [])
            count, images = self.boxes.get(label, 0), self.images_with.get(label, 0)
            title = f"{label}: {count:,} {'box' if count == 1 else 'boxes'} in {images:,} of {self.images:,} images"
            note = f"the first {_SHOWN} images are shown" if images > _SHOWN else "" if cards else "found nowhere"
            yield Section(title, tuple(cards), note=note)

    def _card(self, image: Image.Image, path: str, rows: Sequence[DetectedRow]) -> Card:
        facts = [
            f"{row.score:.2f} at {row.box[0]}, {row.box[1]} – {row.box[2]}, {row.box[3]}" for row in rows[:_LISTED]
        ]
        if len(rows) > _LISTED:
            facts.append(f"and {len(rows) - _LISTED} more")
        best = rows[0]
        return Card(
            best.image,
            thumbnail(drawn(image, [row.box for row in rows]), _EDGE),
            badge=str(len(rows)),
            facts=tuple(facts),
            link=link_to(path, self.path),
            label=best.label,
            score=best.score,
        )


def drawn(image: Image.Image, boxes: Sequence[tuple[int, int, int, int]], edge: int = _EDGE) -> Image.Image:
    """Return a copy of an image, its longer side at most `edge` pixels, with boxes drawn, the first one on top."""
    shrink = min(1.0, edge / max(image.size))
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    small = image.convert("RGB").resize(size, reducing_gap=2.0)
    pen = ImageDraw.Draw(small)
    for box in reversed(boxes):
        x0, y0, x1, y1 = (round(edge * shrink) for edge in box)
        corners = (min(x0, size[0] - 1), min(y0, size[1] - 1), max(x0, x1 - 1), max(y0, y1 - 1))
        pen.rectangle(corners, outline=_RIM, width=4)
        inner = (corners[0] + 1, corners[1] + 1, corners[2] - 1, corners[3] - 1)
        if inner[2] >= inner[0] and inner[3] >= inner[1]:
            pen.rectangle(inner, outline=_LINE, width=2)
    return small
