"""The options of `clipcli apply`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class ApplyOptions:
    """Actions on the files that the plan removes."""

    action: Annotated[
        str,
        typer.Option("--action", "-a", metavar="ACTION", help="trash, move:DIR, hardlink, reflink, symlink or delete."),
    ] = "trash"
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply the plan (default: dry run).")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only show what would be done. This is the default.")
    ] = False
    irreversible: Annotated[
        bool,
        typer.Option(
            "--irreversible",
            help="Let --action delete also remove inexact copies. They cannot be made again.",
        ),
    ] = False
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Apply a plan although its review page was not saved.")
    ] = False
    protect: Annotated[
        list[str] | None,
        typer.Option("--protect", metavar="DIR", help="Never touch files in DIR. Repeatable."),
    ] = None
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal", metavar="FILE", help="Record each step here, for clipcli undo.", show_default="PLAN.journal"
        ),
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only what went wrong.")] = False
