"""`clipcli doctor`: what a bug report needs."""

from __future__ import annotations

import typer

from clipcli.options.shared import TableOptions

EXAMPLES = (
    "clipcli doctor",
    "clipcli doctor -f json > doctor.json",
)


def doctor(out: TableOptions) -> None:
    """Show versions, devices, caches and settings for a bug report, and test the embedded model."""
    from clipcli.core.console import Console
    from clipcli.errors import ExitCode
    from clipcli.output import open_writer
    from clipcli.runs.doctor import examine

    wrong: list[str] = []
    with open_writer(out.parse_table()) as writer:
        for finding in examine():
            writer.write(finding)
            if finding.ok is False:
                wrong.append(f"{finding.area} {finding.name}: {finding.value}")
    for line in wrong:
        Console().line(f"problem: {line}")
    raise typer.Exit(ExitCode.MODEL if wrong else ExitCode.OK)
