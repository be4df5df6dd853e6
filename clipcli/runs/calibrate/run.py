"""A run of `calibrate`, the checks of its options, and its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np

from clipcli.core.files import STDOUT, descriptor_of
from clipcli.errors import InputsError, UsageError
from clipcli.options.classify import CheckOptions, ScoreOptions
from clipcli.output.reports import parse_reporting
from clipcli.output.targets import open_target
from clipcli.runs import classify
from clipcli.runs.calibrate.curves_page import CurvesPage
from clipcli.runs.classify.learned_files import LabelThreshold, ThresholdFile, digest_of_texts, write_thresholds
from clipcli.runs.classify.run import embed_labelled
from clipcli.tasks.calibrate import Goal, Objective, Samples, calibrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.errors import ExitCode
    from clipcli.options.calibrate import CalibrateOptions
    from clipcli.options.shared import InputOptions, LabelOptions
    from clipcli.runs.base import Advance
    from clipcli.runs.classify import ClassifyRun
    from clipcli.session.session import Session
    from clipcli.tasks.calibrate import Calibration, Interval

THIN = 10
"""Number of images of a label below which its figures are rough."""
_NAMED = 5
_HOPELESS = 50.0
"""The temperature at which scores become meaningless; the fit ends at 55."""
_JSON_DIGITS = 6


def plan(inputs: InputOptions, labels: LabelOptions, options: CalibrateOptions, console: Console) -> CalibrateRun:
    """Check the options before a model is loaded.

    Raises:
        UsageError: an unknown objective, or stdout for both rows and thresholds.
        ClipcliError: as `classify`.
    """
    if options.output == "-" or descriptor_of(options.output) == STDOUT:
        raise UsageError("rows go to stdout, so the thresholds need a file", hint="-o thresholds.json")
    goal = parse_goal(options.objective, options.target_precision)
    score = ScoreOptions(multi_label=options.multi_label, background=options.background)
    check = CheckOptions(expect_from=options.expect_from)
    pages = parse_pages(options.report or [])
    return CalibrateRun(classify.plan(inputs, labels, score, check, console), goal, options.seed, options.output, pages)


def parse_pages(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the pages to write. Raises UsageError for other kinds of report."""
    reporting = parse_reporting(paths, "none")
    other_reports = reporting.without_pages().paths
    if other_reports:
        raise UsageError(f"calibrate writes pages only, not {other_reports[0]}", hint="--report curves.html")
    return reporting.pages


def parse_goal(objective: str, precision: float | None) -> Goal:
    """Return the objective of the thresholds. Raises UsageError."""
    objectives: tuple[Objective, ...] = get_args(Objective)
    for name in objectives:
        if objective == name:
            return Goal(name, precision)
    raise UsageError(f"no objective {objective!r}", hint=f"one of {', '.join(objectives)}")


@dataclass
class CalibrateRun:
    """A checked run of `calibrate`."""

    job: ClassifyRun
    goal: Goal
    seed: int
    output: str
    """The file for the thresholds."""
    pages: tuple[str, ...] = ()
    """Files for pages of curves."""
    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return the number of images, or None if unknown."""
        return self.job.total

    def rows(self, session: Session, advance: Advance) -> Iterator[CalibratedRow]:
        """Read all images, write the thresholds, and yield one row per label.

        Raises:
            InputsError: there are too few images, none with one of the labels, or a single label with a softmax.
            OutputError: the thresholds cannot be written.
        """
        with open_target(self.output) as target:  # first, to fail early if the file cannot be written
            threshold_file = self.calibrate(session, advance)
            write_thresholds(threshold_file, target)
        yield from map(CalibratedRow, threshold_file.labels)

    def calibrate(self, session: Session, advance: Advance) -> ThresholdFile:
        """Read all images and find thresholds. Raises InputsError, as `rows`."""
        samples = self._samples(session, advance)
        calibration = calibrate(samples, self.goal, seed=self.seed)
        threshold_file = self._thresholds(session, calibration, len(samples.truth), self.goal, self.seed)
        self._warn(threshold_file, calibration)
        self._summarise(threshold_file, calibration)
        for page in self.pages:
            CurvesPage(threshold_file, calibration, samples).write(page)
        return threshold_file

    def finish(self, session: Session) -> ExitCode:  # noqa: ARG002 - as every run
        """Print how many images could not be read, and return the exit code."""
        self.job.report.summarise()
        return self.job.report.exit_code

    def _samples(self, session: Session, advance: Advance) -> Samples:
        job, classifier = self.job, self.job.classifier(session)
        names = [label.name for label in job.labels]
        if classifier.meaning == "softmax" and len(names) == 1:
            hint = "give more labels, folders of other things, or --multi-label"
            raise InputsError(f"{names[0]} alone always scores 1: there is nothing to calibrate", hint=hint)
        labelled = embed_labelled(job, session, advance, "calibrate")
        logits = np.stack([classifier.logits(vector) for vector in labelled.vectors]).astype(np.float64)
        head: Literal["softmax", "sigmoid"] = "softmax" if classifier.meaning == "softmax" else "sigmoid"
        return Samples(logits, labelled.truth, head, classifier.multi_label)

    def _thresholds(
        self, session: Session, calibration: Calibration, images: int, goal: Goal, seed: int
    ) -> ThresholdFile:
        job = self.job
        labels = tuple(
            LabelThreshold(
                label.name,
                label.phrases,
                threshold.threshold,
                quality.images,
                own,
                _interval_numbers(quality.precision),
                _interval_numbers(quality.recall),
            )
            for label, threshold, own, quality in zip(
                job.labels, calibration.fitted.thresholds, calibration.fitted.own, calibration.labels, strict=True
            )
        )
        multi_label = job.score.multi_label
        return ThresholdFile(
            session.info.name, session.info.fingerprint, multi_label, job.prompts.name,
            digest_of_texts(job.labels, job.prompts, job.background_texts), calibration.fitted.temperature, labels,
            images, (calibration.error_before, calibration.error_after), calibration.accuracy,
            goal.objective, goal.precision, seed,
        )  # fmt: skip

    def _warn(self, threshold_file: ThresholdFile, calibration: Calibration) -> None:
        console = self.job.report.console
        thin = [f"{entry.label} ({entry.images})" for entry in threshold_file.labels if entry.images < THIN]
        if thin:
            ending = f" and {len(thin) - _NAMED} more" if len(thin) > _NAMED else ""
            console.warning(f"fewer than {THIN} images of {', '.join(thin[:_NAMED])}{ending}: their figures are rough")
        if threshold_file.temperature >= _HOPELESS:
            console.warning(
                "the model hardly distinguishes these labels; try other names, other prompts or a larger model"
            )
        missed = [
            label.name
            for label, threshold in zip(self.job.labels, calibration.fitted.thresholds, strict=True)
            if not threshold.reached
        ]
        if missed:
            console.warning(
                f"precision {threshold_file.target_precision:g} is not reached for {', '.join(missed[:_NAMED])}"
            )

    def _summarise(self, threshold_file: ThresholdFile, calibration: Calibration) -> None:
        before, after = threshold_file.calibration_error
        self.job.report.console.info(
            f"{threshold_file.images} images; temperature {threshold_file.temperature:.3g}; "
            f"on images held out: calibration error {before:.3f} → {after:.3f}, "
            f"log loss {calibration.loss_before:.3f} → {calibration.loss_after:.3f}, "
            f"decided right {threshold_file.accuracy:.1%}"
        )


def _interval_numbers(interval: Interval | None) -> tuple[float, float, float] | None:
    return None if interval is None else (interval.value, interval.low, interval.high)


@dataclass(frozen=True)
class CalibratedRow:
    """One label: its threshold, and its precision and recall on held-out images."""

    threshold: LabelThreshold
    columns: ClassVar[tuple[str, ...]] = ("label", "threshold", "images", "precision", "recall", "from")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "label": self.threshold.label,
            "threshold": round(self.threshold.threshold, _JSON_DIGITS),
            "images": self.threshold.images,
            "precision": _interval_record(self.threshold.precision),
            "recall": _interval_record(self.threshold.recall),
            "own": self.threshold.own,
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line, with intervals in brackets."""
        label_threshold = self.threshold
        shares = (_interval_cell(label_threshold.precision), _interval_cell(label_threshold.recall))
        origin = "its images" if label_threshold.own else "all labels"
        return [
            (label_threshold.label, f"{label_threshold.threshold:.4f}", str(label_threshold.images), *shares, origin)
        ]


def _interval_record(share: tuple[float, float, float] | None) -> dict[str, float] | None:
    if share is None:
        return None
    return {name: round(value, _JSON_DIGITS) for name, value in zip(("value", "low", "high"), share, strict=True)}


def _interval_cell(share: tuple[float, float, float] | None) -> str:
    return "" if share is None else f"{share[0]:.2f} ({share[1]:.2f}–{share[2]:.2f})"
