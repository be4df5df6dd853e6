"""One run of `fit`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from clipcli.errors import ExitCode, InputsError
from clipcli.output.targets import open_target
from clipcli.runs.classify.learned_files import HEAD_FORMAT, HeadDescription, HeadFile, write_head
from clipcli.runs.classify.run import embed_labelled
from clipcli.runs.fit.rows import FitRow
from clipcli.tasks.fit import Examples, fit_head, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.core.console import Console
    from clipcli.runs.base import Advance
    from clipcli.runs.classify import ClassifyRun
    from clipcli.runs.classify.run import LabelledVectors
    from clipcli.session.session import Session
    from clipcli.tasks.calibrate import Interval
    from clipcli.tasks.fit import Fit

_NAMED = 5
FEWEST_LABELS = 2


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
                fit.head.neighbours, fit.novelty.limit, _numbers(together.held_out), _numbers(together.zero_shot),
                self.seed,
            ),
            fit.head, fit.novelty,
        )  # fmt: skip

    @property
    def _console(self) -> Console:
        return self.job.report.console


def _points(share_of: float) -> str:
    return f"{100 * share_of:+.1f}"


def _numbers(interval: Interval | None) -> tuple[float, float, float] | None:
    return None if interval is None else (interval.value, interval.low, interval.high)
