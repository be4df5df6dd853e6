"""`clipcli apply`: act on a plan of `dedupe`, one checked step at a time."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.options import OutputOptions

EPILOG = """Examples:

clipcli apply plan.jsonl --action trash

clipcli apply plan.jsonl --action move:duplicates/ --yes

clipcli apply plan.jsonl --keep-both --ignore-file different.txt"""


def apply(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="What clipcli dedupe -o FILE.jsonl wrote.")],
    out: OutputOptions,
    action: Annotated[
        str,
        typer.Option("--action", "-a", metavar="ACTION", help="trash, move:DIR, hardlink, reflink, symlink or delete."),
    ] = "trash",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without this it is only said.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only say what would be done; so it is without --yes.")
    ] = False,
    irreversible: Annotated[
        bool, typer.Option("--irreversible", help="With --action delete: also what is no exact copy of what is kept.")
    ] = False,
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Apply a plan although its page was made to choose on.")
    ] = False,
    protect: Annotated[
        list[str] | None,
        typer.Option("--protect", metavar="DIR", help="Leave files in DIR alone, whatever the plan says."),
    ] = None,
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal", metavar="FILE", help="Where the steps are noted for undo.", show_default="PLAN.journal"
        ),
    ] = None,
    keep_both: Annotated[
        bool,
        typer.Option("--keep-both", help="Touch nothing; note in --ignore-file that these are different pictures."),
    ] = False,
    ignore_file: Annotated[
        str | None,
        typer.Option("--ignore-file", metavar="FILE", help="Note here the pairs that the plan marks as different."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")] = False,
) -> None:
    """Trash, move, link or delete what a plan removes; every file and its keeper are checked again first."""
    from clipcli.acting import Acting
    from clipcli.errors import UsageError

    if yes and dry_run:
        raise UsageError("--yes and --dry-run do not go together", hint="choose one")
    acting = Acting.of(
        plan, action, journal, protect or [], quiet=quiet, irreversible=irreversible, unreviewed=unreviewed or keep_both
    )
    if keep_both or ignore_file is not None:
        acting.decide(ignore_file, keep_all=keep_both)
    raise typer.Exit(0 if keep_both else acting.apply(out.parse(null=False), yes=yes))
