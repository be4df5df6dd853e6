"""One run of `calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from clipcli.errors import InputsError
from clipcli.output.targets import open_target
from clipcli.runs.calibrate.curves_page import CurvesPage
from clipcli.runs.calibrate.rows import CalibratedRow
from clipcli.runs.classify.learned_files import LabelThreshold, ThresholdFile, digest_of_texts, write_thresholds
from clipcli.runs.classify.run import embed_labelled
from clipcli.tasks.calibrate import Goal, Samples, calibrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.errors import ExitCode
    from clipcli.runs.base import Advance
    from clipcli.runs.classify import ClassifyRun
    from clipcli.session.session import Session
    from clipcli.tasks.calibrate import Calibration, Interval

THIN = 10
"""Number of images of a label below which its figures are rough."""
_NAMED = 5
_HOPELESS = 50.0
"""The temperature at which scores become meaningless; the fit ends at 55."""


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
                _share(quality.precision),
                _share(quality.recall),
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


def _share(interval: Interval | None) -> tuple[float, float, float] | None:
    return None if interval is None else (interval.value, interval.low, interval.high)
