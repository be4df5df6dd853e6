"""`classify` with predictors alone: scores in place of labels, and limits that they should keep."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from clipcli.core.console import printable
from clipcli.core.files import split_name
from clipcli.core.suggest import did_you_mean
from clipcli.errors import ExitCode, UsageError
from clipcli.output import ErrorRow
from clipcli.output.reports import CheckReport, Finding, Reporting
from clipcli.runs.classify.head_file import KEY, HeadFile, parse_head, read_tensors
from clipcli.runs.classify.predictor_file import PredictorFile, parse_predictor
from clipcli.runs.classify.rows import PredictedRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from clipcli.core.run_summary import RunSummary
    from clipcli.inputs.collect import ImageRef
    from clipcli.runs.base import Advance
    from clipcli.runs.classify.stored_vectors import StoredVectors
    from clipcli.session.session import Session


@dataclass(frozen=True)
class ScoreLimit:
    """A lower or upper limit of a score."""

    name: str
    bound: float
    is_minimum: bool

    def holds(self, scores: Mapping[str, float]) -> bool:
        """Return whether an image keeps it; what is no number keeps nothing."""
        value = scores[self.name]
        return value >= self.bound if self.is_minimum else value <= self.bound

    @property
    def said(self) -> str:
        """Return it in words."""
        return f"{self.name} at {'least' if self.is_minimum else 'most'} {self.bound:g}"


def read_heads(arguments: Sequence[str]) -> tuple[list[HeadFile], list[PredictorFile]]:
    """Read the files of `--head`, as `FILE` or `NAME=FILE`: few-shot heads, and predictors.

    Raises:
        LabelsError: one that cannot be used.
        UsageError: two predictors of one name.
    """
    heads: list[HeadFile] = []
    predictors: list[PredictorFile] = []
    for argument in arguments:
        name, path = split_name(argument)
        name = name or Path(path).stem
        metadata, tensors = read_tensors(path)
        if KEY in metadata:
            heads.append(parse_head(path, metadata[KEY], tensors))
        elif name in {each.name for each in predictors}:
            raise UsageError(f"two heads are called {name}", hint=f"--head OTHER={path}")
        else:
            predictors.append(parse_predictor(name, path, metadata, tensors))
    return heads, predictors


def parse_limits(
    lowest: Sequence[str], highest: Sequence[str], predictors: Sequence[PredictorFile]
) -> tuple[ScoreLimit, ...]:
    """Read `NAME=NUMBER`. Raises UsageError."""
    limits = []
    for option, texts in (("--min", lowest), ("--max", highest)):
        for text in texts:
            name, _, number = text.rpartition("=")
            try:
                bound = float(number)
            except ValueError:
                bound = math.nan
            if not name or not math.isfinite(bound):
                raise UsageError(f"{option} {text!r} is not NAME=NUMBER", hint=f"{option} aesthetic=5")
            require_score(name, f"{option} {text}", predictors)
            limits.append(ScoreLimit(name, bound, option == "--min"))
    return tuple(limits)


def require_score(name: str, place: str, predictors: Sequence[PredictorFile]) -> None:
    """Raise UsageError, which names the place, if no predictor gives a score of this name."""
    names = [name for each in predictors for name in each.names]
    if name not in names:
        hint = did_you_mean(name, names) or (f"one of {', '.join(names)}" if names else "give --head FILE")
        raise UsageError(f"{place}: no head is called {name}", hint=hint)


@dataclass
class PredictorRun:
    """One run, ready to go."""

    refs: Iterable[ImageRef]
    predictors: Sequence[PredictorFile]
    limits: tuple[ScoreLimit, ...]
    report: RunSummary
    reporting: Reporting = field(default_factory=Reporting)
    findings: list[Finding] = field(default_factory=list)
    total_of_check: int = 0
    kept: int = 0
    """Images that keep all limits."""
    stored: StoredVectors | None = None
    """Vectors in place of images."""
    name: str = "classify"
    """The name of the check in reports."""
    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """Return how many images there are; None for a list that is still coming."""
        if self.stored is not None:
            return len(self.stored)
        return len(self.refs) if isinstance(self.refs, list) else None

    def rows(self, session: Session, advance: Advance) -> Iterator[PredictedRow | ErrorRow]:
        """Yield one row per image, in input order. Raises ModelError for vectors of another model."""
        for each in self.predictors:
            if warning := each.require_model(session.info):
                self.report.console.warning(warning)
        given = session.embed_images(self.refs) if self.stored is None else self.stored.embedded(session.info)
        for embedded in given:
            advance(1)
            name, path = embedded.ref.name, embedded.ref.path
            self.total_of_check += 1
            if embedded.vector is None or embedded.error is not None:
                assert embedded.error is not None  # noqa: S101 - one of the two is there
                self.report.fail(name, embedded.error)
                reason = f"{embedded.error.reason} ({embedded.error.stage})"
                self._note(Finding(name, path, ok=False, expected=self._expected, error=reason))
                yield ErrorRow.of(name, embedded.error)
                continue
            self.report.ok()
            scores: dict[str, float] = {}
            for each in self.predictors:
                values = each.predictor.predict(embedded.vector[None])[0].tolist()
                scores |= dict(zip(each.names, values, strict=True))
            yield self._row(embedded.ref, scores)

    def finish(self, session: Session) -> ExitCode:
        """Say how it went, write the reports, and return the exit code."""
        self.report.summarise()
        report = self.check_report(session.info.name)
        if self.limits:
            self.report.console.line(f"check {'holds' if report.holds else 'fails'}: {report.outcome}")
        self.reporting.write([report])
        return self.exit_code

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code; a limit that is not kept weighs most."""
        return ExitCode.CHECK_FAILED if self.limits and not self._holds else self.report.exit_code

    def check_report(self, model: str) -> CheckReport:
        """Return everything found, with the name of the model."""
        limits = self._expected or "every limit: none was given"
        outcome = f"{self.kept} of {self.total_of_check} images keep {limits}"
        return CheckReport(self.name, tuple(self.findings), self._holds, outcome, model)

    @property
    def _holds(self) -> bool:
        return self.total_of_check > 0 and self.kept == self.total_of_check

    @property
    def _expected(self) -> str | None:
        return " and ".join(limit.said for limit in self.limits) or None

    def _row(self, ref: ImageRef, scores: Mapping[str, float]) -> PredictedRow:
        broken = [limit for limit in self.limits if not limit.holds(scores)]
        self.kept += not broken
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self._note(Finding(ref.name, ref.path, ok=not broken, expected=self._expected, found=shown))
        for limit in broken:
            self.report.console.line(
                f"{printable(ref.name)}: {limit.name} is {scores[limit.name]:.4g}, not {limit.said}"
            )
        return PredictedRow(ref.name, scores, not broken if self.limits else None)

    def _note(self, finding: Finding) -> None:
        if self.reporting.needs(ok=finding.ok):
            self.findings.append(finding)
