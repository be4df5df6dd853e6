"""Boxes as one JSON document in the layout of COCO, for the tools that evaluate, show and train detectors."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from clipcli import __version__
from clipcli.output import ErrorRow, open_writer
from clipcli.output.json import dumps
from clipcli.output.targets import open_target
from clipcli.runs.detect.rows import DetectedRow, ImageRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.output import Output
    from clipcli.output.targets import Target
    from clipcli.runs.base import Sink
    from clipcli.runs.detect.run import DetectRun

    AnyRow: TypeAlias = DetectedRow | ImageRow | ErrorRow

SessionT = TypeVar("SessionT")
COCO: Final = "coco"
"""Its name in `--format`."""
_DIGITS: Final = 6


@contextmanager
def open_sink(output: Output, job: DetectRun[SessionT], session: SessionT) -> Iterator[Sink[AnyRow]]:
    """Open the target of the rows: a COCO document, or a writer of rows as in other commands.

    Raises:
        OutputError: the target cannot be written.
    """
    if output.format != COCO:
        with open_writer(output) as writer:
            yield writer
        return
    job.lists_images = True
    with open_target(output.path) as target:
        document = CocoDocument(target, [label.name for label in job.query.labels], job.locator.model_of(session))
        yield document
        document.close()


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
                "score": round(row.score, _DIGITS),
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
