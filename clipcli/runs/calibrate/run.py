"""One run of `calibrate`."""

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
from clipcli.runs.calibrate.rows import CalibratedRow
from clipcli.runs.classify.labelled_vectors import read_labelled
from clipcli.runs.classify.threshold_file import LabelThreshold, ThresholdFile, digest_of_texts, write_thresholds
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
"""Images of a label under which its figures are little more than a guess."""
_NAMED = 5
_HOPELESS = 50.0
"""The temperature at which scores say nothing any more; the fit ends at 55."""


def plan(inputs: InputOptions, labels: LabelOptions, options: CalibrateOptions, console: Console) -> CalibrateRun:
    """Check everything that was asked before a model is touched.

    Raises:
        UsageError: no such objective, or stdout for both rows and thresholds.
        ClipcliError: what `classify` raises.
    """
    if options.output == "-" or descriptor_of(options.output) == STDOUT:
        raise UsageError("rows go to stdout, so the thresholds need a file", hint="-o thresholds.json")
    goal = parse_goal(options.objective, options.target_precision)
    score = ScoreOptions(multi_label=options.multi_label, background=options.background)
    check = CheckOptions(expect_from=options.expect_from)
    pages = parse_pages(options.report or [])
    return CalibrateRun(classify.plan(inputs, labels, score, check, console), goal, options.seed, options.output, pages)


def parse_pages(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the pages to write. Raises UsageError for another kind of report, and for what no report can be."""
    reporting = parse_reporting(paths, "none")
    others = reporting.without_pages().paths
    if others:
        raise UsageError(f"calibrate checks nothing that {others[0]} could tell of", hint="--report curves.html")
    return reporting.pages


def parse_goal(objective: str, precision: float | None) -> Goal:
    """Return what thresholds are chosen for. Raises UsageError."""
    known: tuple[Objective, ...] = get_args(Objective)
    for name in known:
        if objective == name:
            return Goal(name, precision)
    raise UsageError(f"no objective {objective!r}", hint=f"one of {', '.join(known)}")


@dataclass
class CalibrateRun:
    """One run, ready to go."""

    job: ClassifyRun
    goal: Goal
    seed: int
    output: str
    """The file that the thresholds are written to."""
    pages: tuple[str, ...] = ()
    """Files for pages of curves."""
    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return how many images there are; None for a list that is still coming."""
        return self.job.total

    def rows(self, session: Session, advance: Advance) -> Iterator[CalibratedRow]:
        """Look at all images, write the thresholds, and yield one row per label.

        Raises:
            InputsError: too few images, none with one of the labels, or one label alone under a softmax.
            OutputError: the thresholds cannot be written.
        """
        with open_target(self.output) as target:  # first, so that no work is done for a file that cannot be written
            made = self.calibrate(session, advance)
            write_thresholds(made, target)
        yield from map(CalibratedRow, made.labels)

    def calibrate(self, session: Session, advance: Advance) -> ThresholdFile:
        """Look at all images and find thresholds. Raises InputsError, as `rows`."""
        samples = self._samples(session, advance)
        found = calibrate(samples, self.goal, seed=self.seed)
        made = self._thresholds(session, found, len(samples.truth), self.goal, self.seed)
        self._warn(made, found)
        self._summarise(made, found)
        for page in self.pages:
            CurvesPage(made, found, samples).write(page)
        return made

    def finish(self, session: Session) -> ExitCode:  # noqa: ARG002 - as every run
        """Say what could not be read, and return the exit code."""
        self.job.report.summarise()
        return self.job.report.exit_code

    def _samples(self, session: Session, advance: Advance) -> Samples:
        job, classifier = self.job, self.job.classifier(session)
        names = [label.name for label in job.labels]
        if classifier.meaning == "softmax" and len(names) == 1:
            hint = "give more labels, folders of other things, or --multi-label"
            raise InputsError(f"{names[0]} alone always scores 1: there is nothing to calibrate", hint=hint)
        found = read_labelled(job, session, advance, "calibrate")
        logits = np.stack([classifier.logits(vector) for vector in found.vectors]).astype(np.float64)
        head: Literal["softmax", "sigmoid"] = "softmax" if classifier.meaning == "softmax" else "sigmoid"
        return Samples(logits, found.truth, head, classifier.multi_label)

    def _thresholds(self, session: Session, found: Calibration, images: int, goal: Goal, seed: int) -> ThresholdFile:
        job = self.job
        labels = tuple(
            LabelThreshold(
                label.name,
                label.phrases,
                cut.threshold,
                quality.images,
                own,
                _share(quality.precision),
                _share(quality.recall),
            )
            for label, cut, own, quality in zip(
                job.labels, found.fitted.cuts, found.fitted.own, found.labels, strict=True
            )
        )
        multi_label = job.score.multi_label
        return ThresholdFile(
            session.info.name, session.info.fingerprint, multi_label, job.prompts.name,
            digest_of_texts(job.labels, job.prompts, job.background_texts), found.fitted.temperature, labels, images,
            (found.error_before, found.error_after), found.accuracy, goal.objective, goal.precision, seed,
        )  # fmt: skip

    def _warn(self, made: ThresholdFile, found: Calibration) -> None:
        console = self.job.report.console
        thin = [f"{entry.label} ({entry.images})" for entry in made.labels if entry.images < THIN]
        if thin:
            more = f" and {len(thin) - _NAMED} more" if len(thin) > _NAMED else ""
            console.warning(f"fewer than {THIN} images of {', '.join(thin[:_NAMED])}{more}: their figures are rough")
        if made.temperature >= _HOPELESS:
            console.warning(
                "the model hardly tells these labels apart: other words, other prompts or a larger model may"
            )
        missed = [label.name for label, cut in zip(self.job.labels, found.fitted.cuts, strict=True) if not cut.reached]
        if missed:
            console.warning(f"precision {made.target_precision:g} is not reached for {', '.join(missed[:_NAMED])}")

    def _summarise(self, made: ThresholdFile, found: Calibration) -> None:
        before, after = made.calibration_error
        self.job.report.console.info(
            f"{made.images} images; temperature {made.temperature:.3g}; on images held out: calibration error "
            f"{before:.3f} → {after:.3f}, log loss {found.loss_before:.3f} → {found.loss_after:.3f}, "
            f"decided right {made.accuracy:.1%}"
        )


def _share(interval: Interval | None) -> tuple[float, float, float] | None:
    return None if interval is None else (interval.value, interval.low, interval.high)
