"""The rows of `check`: one per check; with `--paths`, one per failing image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from clipcli.output.reports import CheckReport, Finding

_DIGITS = 6


@dataclass(frozen=True)
class CheckRow:
    """The result of one check."""

    report: CheckReport
    columns: ClassVar[tuple[str, ...]] = ("check", "images", "failing", "ok")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object; `failures` names every image that is not as expected."""
        report = self.report
        return {
            "check": report.name, "ok": report.holds, "images": report.total, "failing": len(report.failed),
            "outcome": report.outcome, "model": report.model or None, "failures": [_failure(f) for f in report.failed],
        }  # fmt: skip

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line."""
        report = self.report
        return [(report.name, str(report.total), str(len(report.failed)), "yes" if report.holds else "no")]


@dataclass(frozen=True)
class FailingPath:
    """An image that fails, for a list of bare paths."""

    path: str
    columns: ClassVar[tuple[str, ...]] = ("image",)

    def record(self) -> dict[str, object]:
        """Return the image's name."""
        return {"image": self.path}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the image's name."""
        return [(self.path,)]


def _failure(finding: Finding) -> dict[str, object]:
    return {
        "image": finding.image, "expected": finding.expected, "found": finding.found,
        "score": _rounded(finding.found_score), "expected_score": _rounded(finding.expected_score),
        "error": finding.error,
    }  # fmt: skip


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, _DIGITS)
