"""The rows of `detect`, and the document in the layout of COCO that can hold them.

Tools that evaluate, show and train detectors read that layout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from clipcli import __version__
from clipcli.output.rows import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.output import ErrorRow
    from clipcli.output.targets import Target

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
        """Return the image, which a list of bare paths has once for each box."""
        return self.image

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        score = round(self.score, _JSON_DIGITS)
        return {"image": self.image, "label": self.label, "score": score, "box": list(self.box)}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line."""
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
        """Return the image."""
        return self.image

    def record(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return {"image": self.image, "size": list(self.size)}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line."""
        return [(self.image, ",".join(map(str, self.size)))]


AnyRow: TypeAlias = "DetectedRow | ImageRow | ErrorRow"


@dataclass
class CocoDocument:
    """`images`, `annotations` with scores and `categories`, written after the last row.

    Ids count from 1. Images that cannot be read are left out.
    """

    target: Target
    labels: Sequence[str]
    model: str
    images: list[dict[str, object]] = field(default_factory=list)
    annotations: list[dict[str, object]] = field(default_factory=list)

    def write(self, row: AnyRow) -> None:
        """Add an image, or a box of the image before it."""
        if isinstance(row, ImageRow):
            width, height = row.size
            number = len(self.images) + 1
            self.images.append({"id": number, "file_name": row.image, "width": width, "height": height})
        elif isinstance(row, DetectedRow):
            x0, y0, x1, y1 = row.box
            width, height = x1 - x0, y1 - y0
            self.annotations.append({
                "id": len(self.annotations) + 1,
                "image_id": len(self.images),
                "category_id": self.labels.index(row.label) + 1,
                "bbox": [x0, y0, width, height],
                "area": width * height,
                "iscrowd": 0,
                "score": round(row.score, _JSON_DIGITS),
            })  # fmt: skip

    def close(self) -> None:
        """Write the document. Raises OutputError."""
        document = {
            "info": {"description": f"clipcli {__version__} detect", "model": self.model},
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": number, "name": name} for number, name in enumerate(self.labels, start=1)],
        }
        self.target.write(dumps(document).encode("utf-8") + b"\n")
