"""Rows → what reports for CI say of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.deduplication.rows import DuplicateRow
from clipcli.reports import CheckReport, Finding
from clipcli.tasks.dedupe.levels import includes

if TYPE_CHECKING:
    from clipcli.deduplication.job import Job
    from clipcli.output import ErrorRow
    from clipcli.reports import Reporting


@dataclass
class Findings:
    """Takes the rows of a run and reports them at its end; without a reader it takes nothing."""

    job: Job
    reporting: Reporting
    _found: list[Finding] = field(default_factory=list)

    def add(self, row: DuplicateRow | ErrorRow) -> None:
        """Take a row: files that stay, and duplicates looser than `--fail-found`, are as they should be."""
        finding = self._finding(row)
        if self.reporting.needs(ok=finding.ok):
            self._found.append(finding)

    def write(self, model: str) -> None:
        """Write the reports; without `--fail-found` duplicates are only pointed out. Raises OutputError."""
        job = self.job
        outcome = f"{job.groups_found:,} groups of duplicates (level {job.level})"
        holds = not job.report.checks_failed
        self.reporting.write([CheckReport("dedupe", tuple(self._found), holds, outcome, model)])

    def _finding(self, row: DuplicateRow | ErrorRow) -> Finding:
        if not isinstance(row, DuplicateRow):
            return Finding(row.image, row.image, ok=False, error=f"{row.reason} ({row.stage})")
        plan, limit = row.plan, self.job.fail_found
        if row.leads:
            return Finding(plan.image, plan.path, ok=True, found="the file that stays")
        ok = limit is not None and not includes(limit, row.surest)
        found = f"{row.level} copy of {plan.keeper}"
        return Finding(plan.image, plan.path, ok, expected="no duplicate", found=found, found_score=row.similarity)
