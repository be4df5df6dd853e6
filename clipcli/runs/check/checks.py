"""The kinds of checks: labels, scores of predictors, pairs of image and text, and duplicates.

`classify`, `classify --head`, `score` and `dedupe` carry them out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from clipcli.core.console import RunSummary, printable
from clipcli.errors import ExitCode, UsageError
from clipcli.options.score import PairOptions
from clipcli.output import ErrorRow
from clipcli.output.reports import CheckReport, Finding, Reporting
from clipcli.runs import classify, score
from clipcli.runs.check.selection import canonical
from clipcli.runs.classify.predictors import PredictorRun, ScoreLimit, read_heads, require_score
from clipcli.runs.dedupe.rows import DuplicateRow
from clipcli.runs.score.run import ScoreRun, ScoreSessions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from clipcli.config.schema import CheckSpec, Config
    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.image_texts import Pair
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.options.classify import CheckOptions, ScoreOptions
    from clipcli.options.score import ScoreLimitOptions
    from clipcli.options.shared import InputOptions, LabelOptions
    from clipcli.runs.base import Advance
    from clipcli.runs.classify import ClassifyRun
    from clipcli.runs.dedupe.run import DedupeRun
    from clipcli.session.session import Session

_NO_DUPLICATE = "no duplicate"


@dataclass(frozen=True)
class LabelCheck:
    """A checked and planned check of labels."""

    job: ClassifyRun
    images: int

    @classmethod
    def of(  # noqa: PLR0917 - one group of options each
        cls, name: str, inputs: InputOptions, labels: LabelOptions, options: ScoreOptions, check: CheckOptions,
        family: Sequence[ImageRef], console: Console,
    ) -> LabelCheck:  # fmt: skip
        """Check the options; `family` is all images of the check, whose folders may name the labels.

        Raises:
            ClipcliError: as `classify`.
        """
        job = classify.plan(inputs, labels, options, check, console, family=family)
        job.name, job.reporting = name, Reporting(collect=True)
        return cls(job, len(inputs.images or ()))

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Read every image, and return the report and the exit code."""
        return _read_all(self.job, session, advance)


@dataclass(frozen=True)
class LimitCheck:
    """A planned check of scores: every image should keep every limit."""

    job: PredictorRun
    images: int

    @classmethod
    def of(cls, spec: CheckSpec, config: Config, images: Sequence[ImageRef], console: Console) -> LimitCheck:
        """Read the predictors, and check that they give the scores that the limits name.

        Raises:
            LabelsError: a file of a predictor cannot be used.
            UsageError: a limit of a score that no predictor gives, or a head of `fit`, which gives labels.
        """
        heads, predictors = read_heads([config.head_beside(head) for head in spec.head])
        if heads:
            hint = "check its labels with expect, expect_from or forbid"
            raise UsageError("a head of clipcli fit has no scores for min and max", hint=hint)
        limits = []
        for key, bounds in (("min", spec.min), ("max", spec.max)):
            for name, bound in bounds.items():
                require_score(name, key, predictors)
                limits.append(ScoreLimit(name, bound, key == "min"))
        summary, reporting = RunSummary(console), Reporting(collect=True)
        job = PredictorRun(list(images), predictors, tuple(limits), summary, reporting, name=spec.name)
        return cls(job, len(images))

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Read every image, and return the report and the exit code."""
        return _read_all(self.job, session, advance)


def _read_all(job: ClassifyRun | PredictorRun, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
    for _ in job.rows(session, advance):
        pass
    job.report.summarise()
    return job.check_report(session.info.name), job.exit_code


@dataclass(frozen=True)
class PairCheck:
    """A planned check of pairs: each image should be like its text."""

    job: ScoreRun
    images: int

    @classmethod
    def of(
        cls,
        spec: CheckSpec,
        config: Config,
        limits: ScoreLimitOptions,
        console: Console,
        *,
        only: Collection[str] | None,
        globs: Globs,
    ) -> PairCheck | None:
        """Read the pairs; None if none of them is selected.

        Args:
            spec: the check.
            config: its file, whose folder the names are relative to.
            limits: the score that pairs should reach, and the share of them that has to.
            console: gets notes and failures.
            only: canonical paths of the files to check; None means all. A pair is checked for its image or its text.
            globs: the filter of the command line.

        Raises:
            InputsError: a table or a list cannot be used, or there are no pairs at all.
        """
        inputs = PairOptions(
            images=[config.beside(name) for name in spec.pairs], column=spec.image, text=spec.text,
            include=list(globs.include) or None, exclude=list(globs.exclude) or None,
            prompts=[config.beside(name) for name in spec.prompts] or None,
        )  # fmt: skip
        job = score.plan(inputs, (), limits, console)
        pairs = list(job.pairs)
        if only is not None:
            stems = {os.path.splitext(path)[0] for path in only}  # noqa: PTH122 - any bytes
            pairs = [pair for pair in pairs if _stem(pair) in stems]
        if not pairs:
            return None
        job.pairs, job.expected, job.name, job.reporting = pairs, len(pairs), spec.name, Reporting(collect=True)
        return cls(job, len(pairs))

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Score every pair, and return the report and the exit code."""
        for _ in self.job.rows(ScoreSessions({session.info.name: session}), advance):
            pass
        self.job.report.summarise("pair")
        return self.job.check_report(session.info.name), self.job.exit_code


def _stem(pair: Pair) -> str:
    """Return the canonical path of a pair's image without its suffix, which its text file shares."""
    return os.path.splitext(canonical(pair.ref.path))[0]  # noqa: PTH122


@dataclass(frozen=True)
class DuplicateCheck:
    """A planned check for duplicates. Every image of the check is compared; only those in `chosen` can fail."""

    name: str
    job: DedupeRun
    family: Sequence[ImageRef]
    chosen: frozenset[str]
    """Names of the images to check in this run."""

    @property
    def images(self) -> int:
        """Return the number of images to read."""
        return len(self.family)

    def run(self, session: Session, advance: Advance) -> tuple[CheckReport, ExitCode]:
        """Read and compare every image, and return the report and the exit code."""
        rows = list(self.job.rows(session, advance))
        wrong = {finding.image: finding for finding in self._failing_findings(rows)}
        console = self.job.console
        for finding in wrong.values():
            if finding.error is None:
                console.line(f"{printable(finding.image)}: {finding.message}")
        fine = (Finding(ref.name, ref.path, ok=True, expected=_NO_DUPLICATE) for ref in self.family)
        findings = tuple(wrong.get(ref.image, ref) for ref in fine if ref.image in self.chosen)
        twice = sum(finding.error is None for finding in wrong.values())
        holds = not wrong
        counts = (
            f"{twice} of {len(findings)} images are duplicates" if twice else f"{len(findings)} images, no duplicate"
        )
        outcome = f"{counts} (level {self.job.level})"
        report = CheckReport(self.name, findings, holds, outcome, session.info.name if self.job.needs_model else "")
        return report, ExitCode.OK if holds else ExitCode.CHECK_FAILED

    def _failing_findings(self, rows: Sequence[DuplicateRow | ErrorRow]) -> Iterator[Finding]:
        for row in rows:
            if isinstance(row, ErrorRow) and row.image in self.chosen:
                yield Finding(row.image, row.image, ok=False, error=f"{row.reason} ({row.stage})")
        groups = (row for row in rows if isinstance(row, DuplicateRow))
        for _, members in groupby(groups, key=lambda row: row.group):
            yield from self._findings_of_group(list(members))

    def _findings_of_group(self, members: Sequence[DuplicateRow]) -> Iterator[Finding]:
        """Yield the findings of a group: all images except one unchanged file, or else the keeper."""
        unchanged = [row for row in members if row.plan.image not in self.chosen]
        original = unchanged[0] if unchanged else members[0]
        for row in members:
            if row is original or row.plan.image not in self.chosen:
                continue
            message = f"{row.level} copy of {original.plan.image}"
            yield Finding(
                row.plan.image,
                row.plan.path,
                ok=False,
                expected=_NO_DUPLICATE,
                found=message,
                found_score=row.similarity,
            )
