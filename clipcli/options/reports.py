"""The options of reports, shared by every command that checks something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from clipcli.reports import Reporting


@dataclass(frozen=True)
class ReportOptions:
    """What CI is told besides the rows."""

    report: Annotated[
        list[str] | None,
        typer.Option("--report", metavar="FILE", help="Also a report: .xml (JUnit), .sarif, .html or .md; repeatable."),
    ] = None
    annotate: Annotated[
        str,
        typer.Option(
            "--annotate", metavar="WHERE", help="Mark images that fail: github, none, or auto (in GitHub Actions)."
        ),
    ] = "auto"

    def parse(self) -> Reporting:
        """These options, checked. Raises UsageError."""
        from clipcli.reports import parse_reporting

        return parse_reporting(self.report or [], self.annotate)
