"""A run of `detect`, with one of two locators: a detection model, or a search over windows with any other model."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Protocol, TypeVar

import numpy as np

from clipcli.core.vectors import sigmoid
from clipcli.errors import ImageError, OutputError
from clipcli.output import ErrorRow, open_writer
from clipcli.output.targets import open_target
from clipcli.prompts import expand
from clipcli.runs.detect.rows import CocoDocument, DetectedRow, ImageRow
from clipcli.session.session import embed_regions
from clipcli.tasks.classify import scores
from clipcli.tasks.detect import best_label_each, boxes_of_windows, every_label, propose_windows, whole_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from PIL.Image import Image

    from clipcli.core.console import Console, RunSummary
    from clipcli.core.vectors import Scores, Vectors
    from clipcli.errors import ExitCode
    from clipcli.inputs.collect import ImageRef
    from clipcli.output import Output
    from clipcli.prompts import Label, PromptSet
    from clipcli.runs.base import Advance, Sink
    from clipcli.runs.detect.boxes_page import BoxesPage
    from clipcli.runs.detect.rows import AnyRow
    from clipcli.session.detector_session import DetectorSession
    from clipcli.session.session import Regions, Session
    from clipcli.tasks.detect import Answers

SessionT_contra = TypeVar("SessionT_contra", contravariant=True)
COCO: Final = "coco"
"""The name of the COCO layout in `--format`."""
COARSE_THRESHOLD = 0.5
BACKGROUND = ("something", "a background", "a scene", "a texture", "a blurry picture", "an empty picture")
"""Texts for a window without any of the labels."""
SessionT = TypeVar("SessionT")


@dataclass(frozen=True)
class Located:
    """The boxes of one upright image."""

    image: Image
    answers: Answers
    """Boxes in whole pixels, the best first."""


@dataclass(frozen=True)
class DetectionQuery:
    """The labels to find, and the conditions for boxes."""

    labels: Sequence[Label]
    prompts: PromptSet
    threshold: float | None
    """Least score of a box; None means the locator's default."""
    multi_label: bool = False
    """True if a box can have several labels."""


class Locator(Protocol[SessionT_contra]):
    """A way to find boxes."""

    def locate(
        self, session: SessionT_contra, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """Yield the boxes or the error of each image, in input order."""
        ...

    def model_of(self, session: SessionT_contra) -> str:
        """Return the name of the model."""
        ...


@dataclass(frozen=True)
class DetectorLocator:
    """Boxes of a detection model."""

    query: DetectionQuery

    def locate(
        self, session: DetectorSession, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """Yield the boxes or the error of each image, in input order."""
        del console
        query = self.query
        session.read_labels([expand(label, query.prompts) for label in query.labels])
        default = session.model.detector.kind.default_threshold
        threshold = default if query.threshold is None else query.threshold
        choose = every_label if query.multi_label else best_label_each
        for ref, result in session.detect(refs):
            if isinstance(result, ImageError):
                yield ref, result
                continue
            chosen = choose(result.boxes, result.scores, threshold)
            yield ref, Located(result.image, whole_pixels(chosen, *result.image.size))

    def model_of(self, session: DetectorSession) -> str:
        """Return the name of the model."""
        return session.model.name


@dataclass(frozen=True)
class CoarseLocator:
    """Boxes made from the windows with the best scores, with any OpenCLIP model."""

    query: DetectionQuery

    def locate(
        self, session: Session, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """Yield the boxes or the error of each image, in input order."""
        console.info(
            "coarse boxes: they are where many windows that show a label overlap, and a model for classification knows "
            "nothing of edges; expect boxes that are too large or too small, or take a detection model: -m owlv2"
        )
        query = self.query
        texts = session.embed_labels(query.labels, query.prompts)
        nothing = session.embed_texts(BACKGROUND)
        for ref in refs:
            regions = embed_regions(session, ref, propose_windows)
            if isinstance(regions, ImageError):
                yield ref, regions
            else:
                probabilities = self._scores(session, regions.vectors, texts, nothing)
                yield ref, Located(regions.image, self._select_boxes(regions, probabilities))

    def model_of(self, session: Session) -> str:
        """Return the name of the model."""
        return session.info.name

    def _scores(self, session: Session, windows: Vectors, texts: Vectors, nothing: Vectors) -> Scores:
        """Return (windows, labels): probability of each label against the others and the background, or by sigmoid."""
        scoring = session.scoring
        if scoring.activation == "sigmoid":
            return scores(windows @ texts.T, scoring)
        if self.query.multi_label:
            label_logits, background_logits = (
                windows @ each.T * np.float32(scoring.scale) for each in (texts, nothing)
            )
            return sigmoid(label_logits - np.logaddexp.reduce(background_logits, axis=1, keepdims=True))
        return scores(windows @ np.concatenate([texts, nothing]).T, scoring)[:, : len(texts)]

    def _select_boxes(self, regions: Regions, scores: Scores) -> Answers:
        query = self.query
        threshold = COARSE_THRESHOLD if query.threshold is None else query.threshold
        size = regions.image.size
        return boxes_of_windows(regions.boxes, scores, size, threshold, multi_label=query.multi_label)


@dataclass
class DetectRun(Generic[SessionT]):
    """A checked run of `detect`."""

    refs: Iterable[ImageRef]
    query: DetectionQuery
    locator: Locator[SessionT]
    report: RunSummary
    crops: str | None = None
    """The folder for crops of the boxes."""
    page: BoxesPage | None = None
    """The report, if one is written."""
    lists_images: bool = False
    """True if each image has a row of its own before those of its boxes."""
    written: int = 0
    """Number of crops written so far."""
    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return the number of images; None for a list that is still arriving on stdin."""
        return len(self.refs) if isinstance(self.refs, list) else None

    def rows(self, session: SessionT, advance: Advance) -> Iterator[DetectedRow | ImageRow | ErrorRow]:
        """Yield one row per box: images in input order, the best box of each first.

        Raises:
            OutputError: a crop cannot be written.
        """
        for ref, located in self.locator.locate(session, self.refs, self.report.console):
            advance(1)
            if isinstance(located, ImageError):
                self.report.fail(ref.name, located)
                yield ErrorRow.of(ref.name, located)
                continue
            self.report.ok()
            rows = list(self._rows(ref.name, located))
            if self.page is not None:
                self.page.take(located.image, ref.path, rows)
            if self.lists_images:
                yield ImageRow(ref.name, located.image.size)
            for row in rows:
                if self.crops is not None:
                    self._save(self.crops, located, row)
                yield row

    def finish(self, session: SessionT) -> ExitCode:
        """Print the summary, write the report, and return the exit code. Raises OutputError."""
        self.report.summarise()
        if self.page is not None:
            self.page.write([label.name for label in self.query.labels], self.locator.model_of(session))
        return self.report.exit_code

    def _rows(self, name: str, located: Located) -> Iterator[DetectedRow]:
        answers = located.answers
        numbers = zip(answers.boxes.tolist(), answers.labels.tolist(), answers.scores.tolist(), strict=True)
        for (x0, y0, x1, y1), label, score in numbers:
            yield DetectedRow(name, self.query.labels[label].name, score, (x0, y0, x1, y1))

    def _save(self, folder: str, located: Located, row: DetectedRow) -> None:
        """Write one crop. Raises OutputError."""
        self.written += 1
        name = re.sub(r"[^\w-]+", "_", f"{Path(row.image).stem[:60]}-{row.label[:40]}")
        target = Path(folder) / f"{self.written:06d}-{name}.png"
        try:
            located.image.crop(row.box).save(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error


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
