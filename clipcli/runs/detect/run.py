"""One run of `detect`: the coarse way, with any model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from clipcli.core.files import is_folder
from clipcli.core.run_summary import RunSummary
from clipcli.core.vectors import sigmoid, softmax
from clipcli.errors import ImageError, InputsError, OutputError, UsageError
from clipcli.inputs.collect import is_stream
from clipcli.output import ErrorRow
from clipcli.prompts import Label, load_prompts, parse_labels, require_prompts
from clipcli.runs.detect.rows import DetectedRow
from clipcli.session.regions import embed_regions
from clipcli.tasks.detect import propose_windows, suppress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.core.vectors import Scores, Vectors
    from clipcli.errors import ExitCode
    from clipcli.inputs.collect import ImageRef
    from clipcli.options.detect import DetectOptions
    from clipcli.options.shared import InputOptions, LabelOptions
    from clipcli.prompts import PromptSet
    from clipcli.runs.base import Advance
    from clipcli.session.regions import Regions
    from clipcli.session.session import Session

BACKGROUND = ("something", "a background", "a scene", "a texture", "a blurry picture", "an empty picture")
"""What a window without any of the labels looks like."""


def plan(inputs: InputOptions, labels: LabelOptions, options: DetectOptions, console: Console) -> DetectRun:
    """Check everything that was asked before a model is touched.

    Raises:
        UsageError: no labels, or a folder for crops that cannot be used.
        ClipcliError: images, labels or prompts that cannot be used.
    """
    chosen = parse_labels(labels.labels or [], labels.labels_file or [])
    prompts = load_prompts(labels.prompts or [])
    require_prompts(chosen, prompts)
    if options.crops is not None and not is_folder(options.crops):
        raise UsageError(f"{options.crops} is not a folder", hint="make the folder for --crops first")
    refs = inputs.collect(console, warn=console.warning)
    listed = refs if is_stream(inputs.images or [], inputs.files_from or []) else list(refs)
    if listed == []:
        raise InputsError("no images", hint="give files or folders")
    return DetectRun(listed, chosen, prompts, options, RunSummary(console))


@dataclass
class DetectRun:
    """One run, ready to go."""

    refs: Iterable[ImageRef]
    labels: Sequence[Label]
    prompts: PromptSet
    options: DetectOptions
    report: RunSummary
    crops: int = 0
    """Crops written so far."""
    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return how many images there are; None for a list that is still coming."""
        return len(self.refs) if isinstance(self.refs, list) else None

    def rows(self, session: Session, advance: Advance) -> Iterator[DetectedRow | ErrorRow]:
        """Yield one row per box: images in input order, the best box of each first.

        Raises:
            OutputError: a crop cannot be written.
        """
        self.report.console.info(
            "coarse boxes: square windows of several sizes are scored one by one, and a model for classification knows "
            "nothing of edges; expect boxes that are too large or too small"
        )
        texts = session.embed_labels(self.labels, self.prompts)
        background = load_prompts(["plain"]) if not self.prompts.templates else self.prompts
        nothing = session.embed_labels([Label("background", BACKGROUND)], background)
        for ref in self.refs:
            advance(1)
            found = embed_regions(session, ref, propose_windows)
            if isinstance(found, ImageError):
                self.report.fail(ref.name, found)
                yield ErrorRow.of(ref.name, found)
                continue
            self.report.ok()
            scores = self._scores(session, found.vectors, texts, nothing)
            rows = sorted(self._boxes(ref, found, scores), key=lambda row: -row.score)
            for row in rows:
                if self.options.crops is not None:
                    self._save(found, row)
                yield row

    def finish(self, session: Session) -> ExitCode:  # noqa: ARG002 - as every run
        """Say what could not be read, and return the exit code."""
        self.report.summarise()
        return self.report.exit_code

    def _scores(self, session: Session, windows: Vectors, texts: Vectors, nothing: Vectors) -> Scores:
        """(windows, labels): probability of each label against the others and the background, or the model's own."""
        scoring = session.scoring
        if scoring.activation == "sigmoid":
            return sigmoid(windows @ texts.T * np.float32(scoring.scale) + np.float32(scoring.bias))
        logits = windows @ np.concatenate([texts, nothing]).T * np.float32(scoring.scale)
        return softmax(logits)[:, :-1]

    def _boxes(self, ref: ImageRef, found: Regions, scores: Scores) -> Iterator[DetectedRow]:
        for number, label in enumerate(self.labels):
            own = np.flatnonzero(scores[:, number] >= self.options.threshold)
            for index in own[suppress(found.boxes[own], scores[own, number])]:
                x0, y0, x1, y1 = found.boxes[index].tolist()
                yield DetectedRow(ref.name, label.name, float(scores[index, number]), (x0, y0, x1, y1))

    def _save(self, found: Regions, row: DetectedRow) -> None:
        """Write one crop. Raises OutputError."""
        self.crops += 1
        name = re.sub(r"[^\w-]+", "_", f"{Path(row.image).stem[:60]}-{row.label[:40]}")
        target = Path(self.options.crops or "") / f"{self.crops:06d}-{name}.png"
        try:
            found.image.crop(row.box).save(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error
