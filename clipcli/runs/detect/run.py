"""One run of `detect`, with either locator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from clipcli.errors import ImageError, OutputError
from clipcli.output import ErrorRow
from clipcli.runs.detect.rows import DetectedRow, ImageRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.core.console import RunSummary
    from clipcli.errors import ExitCode
    from clipcli.inputs.collect import ImageRef
    from clipcli.runs.base import Advance
    from clipcli.runs.detect.boxes_page import BoxesPage
    from clipcli.runs.detect.locators import DetectionQuery, Located, Locator

SessionT = TypeVar("SessionT")


@dataclass
class DetectRun(Generic[SessionT]):
    """One run, ready to go."""

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
