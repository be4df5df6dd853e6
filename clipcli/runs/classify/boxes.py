"""`classify --boxes`: labels for regions of images, from rows of `clipcli detect` or a COCO document."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.files import is_there, read_bytes
from clipcli.errors import ImageError, InputsError
from clipcli.inputs.collect import ImageRef
from clipcli.inputs.sources import is_elsewhere, locate
from clipcli.output import ErrorRow
from clipcli.session.session import embed_regions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from clipcli.errors import ExitCode
    from clipcli.output.reports import Reporting
    from clipcli.runs.base import Advance
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
        """Return the columns of an image's row, and the box."""
        return (*self.answer.columns, "box")

    @property
    def path(self) -> str | None:
        """Return the image for a list of bare paths: once for each box that got a label."""
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
        """Return the reports of the inner run."""
        return self.job.reporting

    @reporting.setter
    def reporting(self, reporting: Reporting) -> None:
        self.job.reporting = reporting

    @property
    def total(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def rows(self, session: Session, advance: Advance) -> Iterator[RegionRow | ErrorRow]:
        """Yield one row per box, images and boxes in the order of the file."""
        classifier = self.job.classifier(session)
        for image in self.images:
            advance(1)
            ref = ImageRef(image.path, image.name, source=locate(image.path))
            regions = embed_regions(session, ref, partial(within, image.boxes))
            if isinstance(regions, ImageError):
                self.job.report.fail(image.name, regions)
                yield ErrorRow.of(image.name, regions)
                continue
            self.job.report.ok()
            for box, vector in zip(regions.boxes.tolist(), regions.vectors, strict=True):
                result, several = classifier.classify(vector), classifier.multi_label
                x0, y0, x1, y1 = box
                yield RegionRow(self.job.row_of(ref, result, (), multi_label=several), (x0, y0, x1, y1))

    def finish(self, session: Session) -> ExitCode:
        """Print the summary, write the reports, and return the exit code."""
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


_LARGEST: Final = 1 << 30
"""Bytes."""
_HINT: Final = 'one {"image": "a.jpg", "box": [x0, y0, x1, y1]} a line, or COCO\'s images and annotations'


@dataclass(frozen=True)
class ImageBoxes:
    """The boxes of one image, in the order of the file."""

    name: str
    """The name in the file."""
    path: str
    """The path to open: names are relative to the file, or else to the working folder, as `detect` writes them."""
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    """x0, y0, x1, y1 in pixels of the upright image."""


@dataclass(frozen=True)
class _BoxLine:
    image: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class _CocoImage:
    id: int
    file_name: str


@dataclass(frozen=True)
class _CocoAnnotation:
    image_id: int
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True)
class _CocoFile:
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]


def read_boxes(path: str) -> list[ImageBoxes]:
    """Read the boxes of images, in the order in which the file first names each image.

    Raises:
        InputsError: it cannot be read, or a line is neither a box nor an error row of `detect`; or there is no box.
    """
    try:
        data = read_bytes(Path(path), _LARGEST)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputsError(f"{path}: {reason[:1].lower()}{reason[1:]}") from error
    pairs = _coco(data, path) if path.lower().endswith(".json") else _lines(data, path)
    folder = Path(path).parent
    images: dict[str, ImageBoxes] = {}
    for name, box in pairs:
        beside = folder / name
        image_path = str(beside) if not is_elsewhere(name) and is_there(beside) else name
        images.setdefault(name, ImageBoxes(name, image_path)).boxes.append(box)
    if not images:
        raise InputsError(f"{path} holds no boxes", hint=_HINT)
    return list(images.values())


def _lines(data: bytes, path: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    pairs = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
            if isinstance(value, dict) and "error" in value:
                continue
            row = decode(_BoxLine, value, unknown="ignore")
        except DecodeError as error:
            raise InputsError(f"{path}:{number}: {error}", hint=_HINT) from error
        pairs.append((row.image, _checked(row.box, f"{path}:{number}")))
    return pairs


def _coco(data: bytes, path: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    try:
        value: Any = parse_json(data)
        document = decode(_CocoFile, value, unknown="ignore")
    except DecodeError as error:
        raise InputsError(f"{path}: {error}", hint=_HINT) from error
    names = {image.id: image.file_name for image in document.images}
    pairs = []
    for number, annotation in enumerate(document.annotations, start=1):
        if annotation.image_id not in names:
            raise InputsError(f"{path}: annotation {number} is of no image: {annotation.image_id}", hint=_HINT)
        x, y, width, height = annotation.bbox
        position = f"{path}: annotation {number}"
        pairs.append((names[annotation.image_id], _checked((x, y, x + width, y + height), position)))
    return pairs


def _checked(box: tuple[float, float, float, float], position: str) -> tuple[float, float, float, float]:
    """Return the box; raise InputsError if its area is not positive."""
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        raise InputsError(f"{position}: an empty box: {x0:g}, {y0:g}, {x1:g}, {y1:g}", hint=_HINT)
    return box
