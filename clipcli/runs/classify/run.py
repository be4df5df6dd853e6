"""One run of `classify`: labels for images, and their check against expected labels.

`calibrate` and `fit` take from it the vectors of labelled images.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from clipcli.core.vectors import stack
from clipcli.errors import ExitCode, InputsError, ModelError
from clipcli.output import CarriedColumns, ErrorRow
from clipcli.output.reports import CheckReport, Finding, Reporting
from clipcli.prompts import Label, expand, load_prompts
from clipcli.runs.classify.expectation_check import (
    ExpectationCheck,
    finding_of,
    outcome,
    print_failure,
    print_outcome,
    print_unmatched,
)
from clipcli.runs.classify.rows import OWN_COLUMNS, ClassifiedBlock, ClassifiedRow
from clipcli.session.pipeline import Embedded
from clipcli.tasks.classify import Classifier, LabelBin, Tally, joined, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    import numpy.typing as npt

    from clipcli.core.console import RunSummary
    from clipcli.core.vectors import Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.options.classify import ScoreOptions
    from clipcli.output import Row, RowBlock
    from clipcli.prompts import LabelGroup, PromptSet
    from clipcli.runs.base import Advance
    from clipcli.runs.classify.learned_files import HeadFile, ThresholdFile
    from clipcli.runs.classify.stored_vectors import StoredBlock, StoredVectors
    from clipcli.session.session import Session
    from clipcli.tasks.classify import BestLabels, Meaning, Prediction
    from clipcli.tasks.fit import HeadClassifier

BACKGROUND = ("something", "a background", "an object", "a scene", "a texture", "a blurry picture", "an empty picture")
"""The default texts of `--background`, for a picture of nothing in particular."""
_NAMED = 5
"""Largest number of labels that one message names."""
_FEWEST = 2
"""Labelled images that something can be learned from."""
_OWN_HEAD, _AGAINST_BACKGROUND = "the model's own sigmoid head", "each label against the background prompts"


@dataclass
class ClassifyRun:
    """One run, ready to go."""

    refs: Iterable[ImageRef]
    labels: Sequence[Label]
    prompts: PromptSet
    groups: Sequence[LabelGroup]
    score: ScoreOptions
    expected: ExpectationCheck | None
    report: RunSummary
    tally: Tally = field(default_factory=Tally)
    name: str = "classify"
    """The name of this run in reports."""
    reporting: Reporting = field(default_factory=Reporting)
    findings: list[Finding] = field(default_factory=list)
    thresholds: ThresholdFile | None = None
    head: HeadFile | None = None
    """A head learned from pictures, used in place of the labels' texts."""
    stored: StoredVectors | None = None
    """Vectors in place of images."""
    carried: CarriedColumns = field(default_factory=lambda: CarriedColumns((), OWN_COLUMNS))

    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return the number of images; None for a list that is still arriving on stdin."""
        if self.stored is not None:
            return len(self.stored)
        return len(self.refs) if isinstance(self.refs, list) else None

    @property
    def answers(self) -> list[str]:
        """Return every label that an image can get."""
        grouped = {name for group in self.groups for name in group.labels}
        alone = [label.name for label in self.labels if label.name not in grouped]
        none = [self.score.none] if self.score.none else []
        return [*(group.name for group in self.groups), *alone, *none]

    def rows(self, session: Session, advance: Advance) -> Iterator[Row | RowBlock]:
        """Yield one row per image, in input order; of stored vectors in blocks, if only the best label is needed."""
        classifier = self._head_classifier(session) or self.classifier(session)
        self._explain(classifier)
        if self.stored is not None and isinstance(classifier, Classifier) and self._asks_for_best_only:
            for block in _best_labels(self.stored.blocks(session.info), classifier):
                yield block
                self.report.done += len(block.images)
                advance(len(block.images))
            return
        yield from self._single_rows(session, classifier, advance)

    @property
    def _asks_for_best_only(self) -> bool:
        one_label = self.score.top_k == 1 and not self.score.multi_label and not self.carried.any
        return one_label and self.expected is None and not self.reporting.needs(ok=True)

    def _single_rows(
        self, session: Session, classifier: Classifier | HeadClassifier, advance: Advance
    ) -> Iterator[Row]:
        for embedded, result in self._results(session, classifier):
            advance(1)
            expected = self.expected.of(embedded.ref, self.answers) if self.expected else ()
            if embedded.error is not None:
                self.report.fail(embedded.ref.name, embedded.error)
                if expected:
                    self.tally.add(unreadable(expected))
                reason = f"{embedded.error.reason} ({embedded.error.stage})"
                self._add_finding(
                    Finding(
                        embedded.ref.name, embedded.ref.path, ok=False, expected=joined(expected) or None, error=reason
                    )
                )
                yield ErrorRow.of(embedded.ref.name, embedded.error, fields=self.carried.renamed(embedded.ref.fields))
            elif result is not None:
                self.report.ok()
                row = self.row_of(embedded.ref, result, expected, multi_label=classifier.multi_label)
                yield self.carried.row(row, embedded.ref.fields)

    def embedded(self, session: Session) -> Iterator[Embedded]:
        """Yield the vector or the error of each image, from the session or from files of vectors."""
        if self.stored is None:
            return session.embed_images(self.refs)
        return self.stored.embedded(session.info)

    def _results(
        self, session: Session, classifier: Classifier | HeadClassifier
    ) -> Iterator[tuple[Embedded, Prediction | None]]:
        """Yield each image with its labels, or None without a vector; stored vectors are classified in blocks."""
        if self.stored is None or not isinstance(classifier, Classifier):
            for embedded in self.embedded(session):
                yield embedded, None if embedded.vector is None else classifier.classify(embedded.vector)
            return
        top = 0 if self.expected is not None else self.score.top_k
        for block in self.stored.blocks(session.info):
            results = classifier.classify_block(block.vectors, top)
            for ref, vector, result in zip(block.refs(), block.vectors, results, strict=True):
                yield Embedded(ref, vector, None), result

    def finish(self, session: Session) -> ExitCode:
        """Print the summary, write the reports, and return the exit code."""
        self.report.summarise()
        if self.expected is not None:
            print_unmatched(self.report.console, self.expected)
            print_outcome(self.report.console, self.tally)
        self.reporting.write([self.check_report(session.info.name)])
        return self.exit_code

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code; a check that does not hold weighs most."""
        fails = self.expected is not None and not self.tally.holds
        return ExitCode.CHECK_FAILED if fails else self.report.exit_code

    def check_report(self, model: str) -> CheckReport:
        """Return the findings of all images; without expected labels, an image only has to be readable."""
        if self.expected is not None:
            return CheckReport(
                self.name, tuple(self.findings), self.tally.holds, outcome(self.tally), model, by_label=True
            )
        report = self.report
        summary = f"{report.done} of {report.done + report.failed} images labelled, nothing was expected of them"
        return CheckReport(self.name, tuple(self.findings), not report.failed, summary, model, by_label=True)

    def _add_finding(self, finding: Finding) -> None:
        if self.reporting.needs(ok=finding.ok):
            self.findings.append(finding)

    def row_of(self, ref: ImageRef, result: Prediction, expected: Sequence[str], *, multi_label: bool) -> ClassifiedRow:
        """Return the row of an image; its expected labels, if any, are compared and counted."""
        shown = result.ranked[: self.score.top_k] if self.score.top_k else result.ranked
        if multi_label and self.score.top_k == 1:
            shown = result.ranked
        holds = None
        if not expected or self.expected is None:
            self._add_finding(Finding(ref.name, ref.path, ok=True, found=result.label, found_score=result.score))
        else:
            verdict = self.expected.judge(expected, result, multi_label=multi_label)
            self._add_finding(finding_of(ref, verdict))
            self.tally.add(verdict)
            holds = verdict.holds
            if not holds:
                print_failure(self.report.console, ref.name, verdict, self.answers)
        return ClassifiedRow(
            ref.name, result.label, result.score, shown, joined(expected) or None, holds,
            checked=self.expected is not None, multi_label=multi_label,
        )  # fmt: skip

    @property
    def background_texts(self) -> tuple[str, ...]:
        """Return the background texts that independent scores are compared with."""
        return expand(*self._background) if self.score.multi_label else ()

    @property
    def _background(self) -> tuple[Label, PromptSet]:
        phrases = tuple(self.score.background or BACKGROUND)
        return Label("background", phrases), self.prompts if self.prompts.templates else load_prompts(["plain"])

    def classifier(self, session: Session) -> Classifier:
        """Return a classifier of the encoded labels. Raises ModelError for thresholds of another."""
        meaning: Meaning = session.scoring.activation
        if self.score.similarity:
            meaning = "cosine"
        elif self.score.multi_label and meaning == "softmax":
            meaning = "background"
        background = None
        if self.score.none or meaning == "background":
            label, prompts = self._background
            background = session.embed_labels([label], prompts)[0]
        names = tuple(label.name for label in self.labels)
        bins = tuple(LabelBin(group.name, tuple(names.index(name) for name in group.labels)) for group in self.groups)
        scoring, limits = session.scoring, None
        if self.thresholds is not None:
            self.thresholds.require_model(session.info)
            scoring, limits = self.thresholds.cooled(scoring), self.thresholds.by_label
        return Classifier(
            names, session.embed_labels(self.labels, self.prompts), scoring, meaning, background,
            self.score.none, self.score.threshold, self.score.multi_label, bins, limits,
        )  # fmt: skip

    def _head_classifier(self, session: Session) -> HeadClassifier | None:
        """Return the head as a classifier, if there is one. Raises ModelError for one of another model."""
        if self.head is None:
            return None
        self.head.require_model(session.info)
        return self.head.classifier(self.score.none, self.score.threshold)

    def _explain(self, classifier: Classifier | HeadClassifier) -> None:
        console = self.report.console
        if classifier.meaning == "softmax" and len(self.answers) == 1:
            console.warning("one label alone always scores 1; add labels, or use --none, --multi-label or --similarity")
        if classifier.multi_label:
            own = classifier.meaning == "sigmoid"
            console.info(f"independent scores: {_OWN_HEAD if own else _AGAINST_BACKGROUND}")


def _best_labels(blocks: Iterator[StoredBlock], classifier: Classifier) -> Iterator[ClassifiedBlock]:
    """Yield the best labels in blocks; the next block is computed while one is written."""
    with ThreadPoolExecutor(1) as pool:
        waiting: tuple[Sequence[str], Future[BestLabels]] | None = None
        for block in blocks:
            after = (block.names, pool.submit(classifier.best_labels, block.vectors))
            if waiting is not None:
                yield ClassifiedBlock(waiting[0], waiting[1].result())
            waiting = after
        if waiting is not None:
            yield ClassifiedBlock(waiting[0], waiting[1].result())


class LabelledVectors(NamedTuple):
    """The images of a run that have a right label and could be read."""

    vectors: Vectors
    """(images, dim), unit length."""
    truth: npt.NDArray[np.int64]
    """(images,): index of the right label, -1 if it is not one of the run's labels."""


def embed_labelled(run: ClassifyRun, session: Session, advance: Advance, purpose: str) -> LabelledVectors:
    """Embed the images of a run that have an expected label.

    Args:
        run: a run with expectations.
        session: the model.
        advance: moves the progress bar.
        purpose: a verb for the message about too few images, such as `calibrate`.

    Raises:
        ModelError: the model gave no image a usable vector.
        InputsError: fewer than two images, or none with one of the labels.
    """
    names = [label.name for label in run.labels]
    numbers = {name: number for number, name in enumerate(names)}
    vectors, truth, unknown, several = [], [], set(), 0
    for embedded in run.embedded(session):
        advance(1)
        right = run.expected.of(embedded.ref, names) if run.expected else ()
        if embedded.error is not None:
            run.report.fail(embedded.ref.name, embedded.error)
        elif embedded.vector is not None and right:
            run.report.ok()
            several += len(right) > 1
            vectors.append(embedded.vector)
            truth.append(numbers.get(right[0], -1))
            unknown |= {right[0]} - set(names)
    if not truth and run.report.failed_in_model:
        raise ModelError("the model gave no image a usable vector", hint="name another model with -m")
    if not set(truth) - {-1} or len(truth) < _FEWEST:
        raise InputsError(f"too few labelled images to {purpose}", hint="a folder per label, with images in each")
    if unknown:
        shown = ", ".join(sorted(unknown)[:_NAMED])
        run.report.console.info(f"{truth.count(-1)} images of no label count as none of these ({shown})")
    if several:
        run.report.console.info(f"{several} images have several right labels: the first of each counts here")
    return LabelledVectors(stack(vectors, session.info.dim), np.array(truth, np.int64))
