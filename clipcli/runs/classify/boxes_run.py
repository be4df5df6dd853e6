"""`classify --boxes`: labels for regions of images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from clipcli.errors import ImageError
from clipcli.inputs.collect import ImageRef
from clipcli.inputs.sources import locate
from clipcli.output import ErrorRow
from clipcli.session.regions import embed_regions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from clipcli.errors import ExitCode
    from clipcli.output.reports import Reporting
    from clipcli.runs.base import Advance
    from clipcli.runs.classify.boxes_file import ImageBoxes
    from clipcli.runs.classify.rows import ClassifiedRow
    from clipcli.runs.classify.run import ClassifyRun
    from clipcli.session.session import Session


@dataclass(frozen=True)
class RegionRow:
    """One box of an image and the labels it got."""

    answer: ClassifiedRow
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels of the upright image; x1 and y1 are not part of it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of an image, and the box."""
        return (*self.answer.columns, "box")

    @property
    def path(self) -> str | None:
        """In a list of bare paths: the image, once for each box that got an answer."""
        return self.answer.path

    def record(self) -> Mapping[str, object]:
        """Return the documented JSON object."""
        return {**self.answer.record(), "box": list(self.box)}

    def cells(self) -> list[tuple[str, ...]]:
        """Return one line per label."""
        return [(*line, ",".join(map(str, self.box))) for line in self.answer.cells()]


@dataclass
class BoxesRun:
    """One run, ready to go."""

    images: Sequence[ImageBoxes]
    job: ClassifyRun
    """Labels, prompts and scores, as `classify` checks them."""
    unit: ClassVar[str] = "image"
    stored: ClassVar[None] = None

    @property
    def reporting(self) -> Reporting:
        """Return the reports, which are those of the images."""
        return self.job.reporting

    @reporting.setter
    def reporting(self, reporting: Reporting) -> None:
        self.job.reporting = reporting

    @property
    def total(self) -> int:
        """Return how many images there are."""
        return len(self.images)

    def rows(self, session: Session, advance: Advance) -> Iterator[RegionRow | ErrorRow]:
        """Yield one row per box, images and boxes in the order of the file."""
        classifier = self.job.classifier(session)
        for image in self.images:
            advance(1)
            ref = ImageRef(image.path, image.name, source=locate(image.path))
            found = embed_regions(session, ref, partial(within, image.boxes))
            if isinstance(found, ImageError):
                self.job.report.fail(image.name, found)
                yield ErrorRow.of(image.name, found)
                continue
            self.job.report.ok()
            for box, vector in zip(found.boxes.tolist(), found.vectors, strict=True):
                result, several = classifier.classify(vector), classifier.multi_label
                x0, y0, x1, y1 = box
                yield RegionRow(self.job.row_of(ref, result, (), multi_label=several), (x0, y0, x1, y1))

    def finish(self, session: Session) -> ExitCode:
        """Say what could not be read, and return the exit code."""
        return self.job.finish(session)


def within(boxes: Sequence[tuple[float, float, float, float]], width: int, height: int) -> npt.NDArray[np.int64]:
    """Return boxes in whole pixels within an image. Raises ImageError for one that lies outside of it."""
    rounded = np.rint(np.array(boxes)).astype(np.int64)
    rounded[:, 2:] = np.maximum(rounded[:, 2:], rounded[:, :2] + 1)
    inside: npt.NDArray[np.int64] = np.clip(rounded, 0, np.array([width, height, width, height]))
    outside = np.flatnonzero((inside[:, 2:] <= inside[:, :2]).any(axis=1))
    if len(outside):
        shown = ", ".join(f"{edge:g}" for edge in boxes[int(outside[0])])
        raise ImageError("preprocess", f"the box {shown} lies outside of its {width} by {height} pixels")
    return inside
