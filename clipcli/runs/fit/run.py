"""A run of `fit`, the checks of its options, and its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from clipcli.core.optional_packages import require_packages
from clipcli.errors import ExitCode, InputsError, UsageError, did_you_mean
from clipcli.options.classify import CheckOptions, ScoreOptions
from clipcli.output.targets import open_target
from clipcli.runs import classify
from clipcli.runs.classify.learned_files import HEAD_FORMAT, HeadDescription, HeadFile, write_head
from clipcli.runs.classify.run import embed_labelled
from clipcli.tasks.fit import METHODS, Examples, fit_head, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.core.console import Console
    from clipcli.options.fit import FitOptions
    from clipcli.options.shared import InputOptions, LabelOptions
    from clipcli.runs.base import Advance
    from clipcli.runs.classify import ClassifyRun
    from clipcli.runs.classify.run import LabelledVectors
    from clipcli.session.session import Session
    from clipcli.tasks.calibrate import Interval
    from clipcli.tasks.fit import Fit

_NAMED = 5
FEWEST_LABELS = 2
_JSON_DIGITS = 6
ALL = "all labels"
"""The name of the row for all labels in a table."""


def plan(inputs: InputOptions, labels: LabelOptions, options: FitOptions, console: Console) -> FitRun:
    """Check the options before a model is loaded.

    Raises:
        UsageError: an unknown method, stdout for both rows and head, or a single label.
        PackageMissingError: scipy is not installed.
        ClipcliError: as `classify`.
    """
    if options.output == "-":
        raise UsageError("rows go to stdout, so the head needs a file", hint="-o shoes.head")
    if options.method not in METHODS:
        hint = did_you_mean(options.method, METHODS) or f"one of {', '.join(METHODS)}"
        raise UsageError(f"no method {options.method!r}", hint=hint)
    require_packages("fit", "learning a head")
    check = CheckOptions(expect_from=options.expect_from)
    job = classify.plan(inputs, labels, ScoreOptions(), check, console)
    if len(job.labels) < FEWEST_LABELS:
        hint = "add a folder with other pictures"
        raise UsageError(f"a single label, {job.labels[0].name}, cannot be learned", hint=hint)
    return FitRun(job, options.method, options.seed, options.output, force=options.force)


class _DeclinedError(Exception):
    """The head is not better than the texts, so its file is not written."""


@dataclass
class FitRun:
    """A checked run of `fit`."""

    job: ClassifyRun
    method: str
    seed: int
    output: str
    """The file for the head."""
    force: bool = False
    """True if the head is written even if it does not help."""
    declined: bool = field(default=False, init=False)
    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return the number of images, or None if unknown."""
        return self.job.total

    def rows(self, session: Session, advance: Advance) -> Iterator[FitRow]:
        """Read all images, learn, write the head if it helps, and yield one row per label and one for all.

        Raises:
            InputsError: there are too few images, or images of fewer than two labels.
            OutputError: the head cannot be written.
        """
        try:
            with open_target(self.output) as target:  # first, to fail early if the file cannot be written
                samples = embed_labelled(self.job, session, advance, "fit")
                fit, rows = self._fit(session, samples)
                self._judge(fit)
                write_head(self._file(session, samples, fit, rows[-1]), target)
        except _DeclinedError:
            pass
        yield from rows

    def finish(self, session: Session) -> ExitCode:  # noqa: ARG002 - as every run
        """Print how many images could not be read, and return the exit code: 1 if no head was written."""
        self.job.report.summarise()
        return ExitCode.CHECK_FAILED if self.declined else self.job.report.exit_code

    def _fit(self, session: Session, samples: LabelledVectors) -> tuple[Fit, list[FitRow]]:
        has_label = samples.truth >= 0
        vectors, truth = samples.vectors[has_label], samples.truth[has_label]
        counts = np.bincount(truth, minlength=len(self.job.labels))
        if (counts > 0).sum() < FEWEST_LABELS:
            raise InputsError("there are images of one label only", hint="give images of two labels")
        if missing := [label.name for label, count in zip(self.job.labels, counts, strict=True) if not count]:
            self._console.warning(f"no image of {', '.join(missing[:_NAMED])}: it is learned from its text only")
        texts = session.embed_labels(self.job.labels, self.job.prompts)
        examples = Examples(vectors, truth, texts, session.scoring.scale)
        fit = fit_head(examples, samples.vectors[~has_label], self.method, seed=self.seed)
        return fit, self._rows(fit, counts.tolist())

    def _rows(self, fit: Fit, counts: list[int]) -> list[FitRow]:
        compared, generator = fit.comparison, np.random.default_rng(self.seed)
        if compared is None:
            rows = [FitRow(label.name, counts[number], None, None) for number, label in enumerate(self.job.labels)]
            return [*rows, FitRow(None, sum(counts), None, None)]
        rows = []
        for number, label in enumerate(self.job.labels):
            is_label = compared.truth == number
            of_head, of_texts = (
                share(compared.head[is_label], generator),
                share(compared.zero_shot[is_label], generator),
            )
            rows.append(FitRow(label.name, counts[number], of_head, of_texts))
        of_head, of_texts = share(compared.head, generator), share(compared.zero_shot, generator)
        return [*rows, FitRow(None, sum(counts), of_head, of_texts, compared.gain)]

    def _judge(self, fit: Fit) -> None:
        """Print the head's accuracy. Raises _DeclinedError if it is not to be written."""
        compared = fit.comparison
        if compared is None:
            message = "no label has two pictures, so none could be held out"
            self.declined = not self.force
        else:
            gain = compared.gain
            message = (
                f"on {len(compared.truth)} held-out pictures {compared.head.mean():.1%} right, the labels' texts alone "
                f"{compared.zero_shot.mean():.1%}: {_points(gain.value)} points ({_points(gain.low)} to "
                f"{_points(gain.high)})"
            )
            self.declined = not compared.helps and not self.force
        self._console.info(message)
        if self.declined:
            reason = "nothing could be measured" if compared is None else "the gain is zero or may be chance"
            self._console.line(f"no head written: {reason}; give more pictures, or use --force to write it anyway")
            raise _DeclinedError

    def _file(self, session: Session, samples: LabelledVectors, fit: Fit, together: FitRow) -> HeadFile:
        counts = np.bincount(samples.truth[samples.truth >= 0], minlength=len(self.job.labels))
        info = session.info
        return HeadFile(
            HeadDescription(
                HEAD_FORMAT, "few-shot", info.name, info.fingerprint, self.method,
                tuple(label.name for label in self.job.labels), tuple(counts.tolist()), fit.head.sharpness,
                fit.head.neighbours, fit.novelty.limit, _interval_numbers(together.held_out),
                _interval_numbers(together.zero_shot), self.seed,
            ),
            fit.head, fit.novelty,
        )  # fmt: skip

    @property
    def _console(self) -> Console:
        return self.job.report.console


def _points(share_of: float) -> str:
    return f"{100 * share_of:+.1f}"


def _interval_numbers(interval: Interval | None) -> tuple[float, float, float] | None:
    return None if interval is None else (interval.value, interval.low, interval.high)


@dataclass(frozen=True)
class FitRow:
    """One label, or all labels: the accuracy of the head and of the texts alone on held-out pictures."""

    label: str | None
    """None for all labels together."""
    images: int
    """Number of training pictures."""
    held_out: Interval | None
    """Accuracy of the head; None if no picture could be held out."""
    zero_shot: Interval | None
    gain: Interval | None = None
    """For all labels: the head's accuracy minus that of the texts, on the same pictures."""
    columns: ClassVar[tuple[str, ...]] = ("label", "images", "held_out", "zero_shot")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "label": self.label,
            "images": self.images,
            "held_out": _interval_record(self.held_out),
            "zero_shot": _interval_record(self.zero_shot),
            "gain": _interval_record(self.gain),
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line, with intervals in brackets."""
        return [(self.label or ALL, str(self.images), _interval_cell(self.held_out), _interval_cell(self.zero_shot))]


def _interval_record(share: Interval | None) -> dict[str, float] | None:
    if share is None:
        return None
    return {name: round(getattr(share, name), _JSON_DIGITS) for name in ("value", "low", "high")}


def _interval_cell(share: Interval | None) -> str:
    return "" if share is None else f"{share.value:.2f} ({share.low:.2f}–{share.high:.2f})"
