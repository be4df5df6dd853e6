"""A check for duplicates, carried out by `dedupe`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from clipcli.core.console import printable
from clipcli.errors import ExitCode
from clipcli.output import ErrorRow
from clipcli.output.reports import CheckReport, Finding
from clipcli.runs.dedupe.rows import DuplicateRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.inputs.collect import ImageRef
    from clipcli.runs.base import Advance
    from clipcli.runs.dedupe.run import DedupeRun
    from clipcli.session.session import Session

_EXPECTED = "no duplicate"


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
        wrong = {finding.image: finding for finding in self._wrong(rows)}
        console = self.job.console
        for finding in wrong.values():
            if finding.error is None:
                console.line(f"{printable(finding.image)}: {finding.message}")
        fine = (Finding(ref.name, ref.path, ok=True, expected=_EXPECTED) for ref in self.family)
        findings = tuple(wrong.get(ref.image, ref) for ref in fine if ref.image in self.chosen)
        twice = sum(finding.error is None for finding in wrong.values())
        holds = not wrong
        found = (
            f"{twice} of {len(findings)} images are duplicates" if twice else f"{len(findings)} images, no duplicate"
        )
        outcome = f"{found} (level {self.job.level})"
        report = CheckReport(self.name, findings, holds, outcome, session.info.name if self.job.needs_model else "")
        return report, ExitCode.OK if holds else ExitCode.CHECK_FAILED

    def _wrong(self, rows: Sequence[DuplicateRow | ErrorRow]) -> Iterator[Finding]:
        for row in rows:
            if isinstance(row, ErrorRow) and row.image in self.chosen:
                yield Finding(row.image, row.image, ok=False, error=f"{row.reason} ({row.stage})")
        groups = (row for row in rows if isinstance(row, DuplicateRow))
        for _, members in groupby(groups, key=lambda row: row.group):
            yield from self._in_group(list(members))

    def _in_group(self, members: Sequence[DuplicateRow]) -> Iterator[Finding]:
        """Yield the findings of a group: all images except one unchanged file, or else the keeper."""
        unchanged = [row for row in members if row.plan.image not in self.chosen]
        original = unchanged[0] if unchanged else members[0]
        for row in members:
            if row is original or row.plan.image not in self.chosen:
                continue
            message = f"{row.level} copy of {original.plan.image}"
            yield Finding(
                row.plan.image, row.plan.path, ok=False, expected=_EXPECTED, found=message, found_score=row.similarity
            )
