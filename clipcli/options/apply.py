"""The options of `clipcli apply`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class ApplyOptions:
    """What is done with the files that a plan removes."""

    action: Annotated[
        str,
        typer.Option("--action", "-a", metavar="ACTION", help="trash, move:DIR, hardlink, reflink, symlink or delete."),
    ] = "trash"
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without this it is only said.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only say what would be done; so it is without --yes.")
    ] = False
    irreversible: Annotated[
        bool, typer.Option("--irreversible", help="With --action delete: also what is no exact copy of what is kept.")
    ] = False
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Apply a plan although its page was made to choose on.")
    ] = False
    protect: Annotated[
        list[str] | None,
        typer.Option("--protect", metavar="DIR", help="Leave files in DIR alone, whatever the plan says."),
    ] = None
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal", metavar="FILE", help="Where the steps are noted for undo.", show_default="PLAN.journal"
        ),
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")] = False
