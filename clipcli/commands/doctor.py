"""`clipcli doctor`."""

from __future__ import annotations

import typer

from clipcli.options import OutputOptions

EPILOG = """Examples:

clipcli doctor

clipcli doctor --format json > doctor.json"""


def doctor(out: OutputOptions) -> None:
    """Show what a bug report needs: versions, devices and why, caches, settings; test the embedded model."""
    from clipcli.doctor import examine
    from clipcli.errors import ExitCode
    from clipcli.output import open_writer

    well = True
    with open_writer(out.parse(null=False)) as writer:
        for finding in examine():
            writer.write(finding)
            well = well and finding.ok is not False
    raise typer.Exit(ExitCode.OK if well else ExitCode.MODEL)
