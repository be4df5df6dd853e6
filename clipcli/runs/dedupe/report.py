"""A run of `dedupe` with its reports and pages, and what to do next."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

from clipcli.errors import UsageError
from clipcli.output import CarriedColumns, ErrorRow
from clipcli.output.reports import CheckReport, Finding
from clipcli.plan.plan_file import reviewed_name
from clipcli.runs.dedupe.rows import OWN_COLUMNS, DuplicateRow
from clipcli.tasks.dedupe.levels import includes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.errors import ExitCode
    from clipcli.options.dedupe import ActionWords
    from clipcli.output import Output, Row
    from clipcli.output.reports import Reporting
    from clipcli.runs.base import Advance
    from clipcli.runs.dedupe.review_page import ReviewPage
    from clipcli.runs.dedupe.run import DedupeRun
    from clipcli.session.session import Session

_PLANS: Final = frozenset(("jsonl", "json"))


def is_plan(output: Output) -> bool:
    """Return whether `apply` can read what is written."""
    return output.format in _PLANS and not output.paths


def plan_of(output: Output) -> str | None:
    """Return the file of the plan; None where none is written."""
    return output.path if output.path not in {None, "-"} and is_plan(output) else None


def next_step(output: Output, pages: Sequence[str]) -> str | None:
    """Return what to do where files could go; None where the rows are a plan on stdout, for whatever reads them.

    Args:
        output: where the rows went.
        pages: pages to choose on.
    """
    plan = plan_of(output)
    if pages:
        saved = shlex.quote(reviewed_name(plan or pages[0]))
        return f"next: open {pages[0]} in a browser, choose, save, then: clipcli apply {saved}"
    if plan is not None:
        return f"next: clipcli apply {shlex.quote(plan)} (says what it would do; with --yes it does it)"
    if is_plan(output):
        return None
    return "nothing was touched; to act on it, add -o plan.jsonl to this command, then: clipcli apply plan.jsonl"


def refuse_actions(words: ActionWords) -> None:
    """Say which command acts. Raises UsageError."""
    for option, action in words.apply_options.items():
        apply = f"clipcli apply plan.jsonl{action}"
        raise UsageError(f"{option} is for apply: dedupe itself changes no files",
                         hint=f"clipcli dedupe … -o plan.jsonl, then: {apply}")  # fmt: skip


def page_of(pages: Sequence[str], output: Output) -> str:
    """Return the page that a plan is to be looked at on, in full; empty where there is none or no plan is written."""
    return os.path.abspath(pages[0]) if pages and is_plan(output) else ""  # noqa: PTH100 - any bytes


@dataclass
class ReportedRun:
    """A run whose rows also go to reports for CI and to pages to choose on."""

    job: DedupeRun
    output: Output
    reporting: Reporting
    pages: Sequence[ReviewPage]
    unit: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        self.job.page = page_of(self.reporting.pages, self.output)
        self._findings = Findings(self.job, self.reporting.without_pages())

    @property
    def total(self) -> int | None:
        """Return how many images there are; None for a list that is still coming."""
        return self.job.total

    def rows(self, session: Session, advance: Advance) -> Iterator[Row]:
        """Yield the rows of the run with the columns of their table, and note them; lists of paths have no columns."""
        plain = self.output.paths or self.output.format == "groups"
        carried = CarriedColumns(() if plain else self.job.kept_columns, OWN_COLUMNS)
        for row in self.job.rows(session, advance):
            self._findings.add(row)
            for page in self.pages:
                page.add(row)
            fields = {} if plain else self.job.fields.get(row.image, {})
            if isinstance(row, ErrorRow):
                yield replace(row, fields=carried.renamed(fields))
            else:
                yield carried.row(row, fields)

    def finish(self, session: Session) -> ExitCode:
        """Write pages and reports, say what was found and what to do next, and return the exit code."""
        for page in self.pages:
            page.write()
        code = self.job.finish(session)
        names = self.reporting.pages
        step = next_step(self.output, names) if self.job.groups_found and (self.job.freed.files or names) else None
        if step is not None:
            self.job.console.info(step)
        self._findings.write(session.info.name if self.job.needs_model else "")
        return code


@dataclass
class Findings:
    """Takes the rows of a run and reports them at its end; without a reader it takes nothing."""

    job: DedupeRun
    reporting: Reporting
    _found: list[Finding] = field(default_factory=list)

    def add(self, row: DuplicateRow | ErrorRow) -> None:
        """Take a row: files that stay, and duplicates looser than `--fail-on`, are as they should be."""
        finding = self._finding(row)
        if self.reporting.needs(ok=finding.ok):
            self._found.append(finding)

    def write(self, model: str) -> None:
        """Write the reports; without `--fail-on` duplicates are only pointed out. Raises OutputError."""
        job = self.job
        outcome = f"{job.groups_found:,} groups of duplicates (level {job.level})"
        holds = not job.report.checks_failed
        self.reporting.write([CheckReport("dedupe", tuple(self._found), holds, outcome, model)])

    def _finding(self, row: DuplicateRow | ErrorRow) -> Finding:
        if not isinstance(row, DuplicateRow):
            return Finding(row.image, row.image, ok=False, error=f"{row.reason} ({row.stage})")
        plan, limit = row.plan, self.job.fail_on
        if row.leads:
            return Finding(plan.image, plan.path, ok=True, found="the file that stays")
        ok = limit is not None and not includes(limit, row.closest_level)
        found = f"{row.level} copy of {plan.keeper}"
        return Finding(plan.image, plan.path, ok, expected="no duplicate", found=found, found_score=row.similarity)
