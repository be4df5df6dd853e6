"""`clipcli undo`: undo what `apply` did."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.options.shared import OutputOptions

EXAMPLES = ("clipcli undo plan.jsonl.journal",)


def undo(
    journal: Annotated[
        str, typer.Argument(metavar="JOURNAL", help="Journal that clipcli apply wrote beside the plan.")
    ],
    out: OutputOptions,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Also undo a journal from another user or machine.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only what went wrong.")] = False,
) -> None:
    """Undo what can be undone, the last step first, and list what cannot."""
    from clipcli.runs.apply.run import undo_all

    raise typer.Exit(undo_all(journal, out.parse(null=False), quiet=quiet, yes=yes))
