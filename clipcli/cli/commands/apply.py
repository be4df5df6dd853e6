"""`clipcli apply`: act on a plan of `dedupe`, one checked step at a time."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.options.apply import ApplyOptions
from clipcli.options.shared import OutputOptions

EXAMPLES = (
    "clipcli apply plan.jsonl",
    "clipcli apply plan.jsonl --action move:duplicates/ --yes",
    "clipcli apply plan.jsonl --keep-both --ignore-file different.txt",
)


def apply(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Plan from clipcli dedupe -o FILE.jsonl.")],
    out: OutputOptions,
    options: ApplyOptions,
    keep_both: Annotated[
        bool,
        typer.Option("--keep-both", help="Touch no file; record all pairs in --ignore-file as different."),
    ] = False,
    ignore_file: Annotated[
        str | None,
        typer.Option(
            "--ignore-file",
            metavar="FILE",
            help="Record pairs marked as different in FILE. The plan's review page marks them.",
        ),
    ] = None,
) -> None:
    """Trash, move, link or delete what a plan removes. Every file and its keeper are checked again first."""
    from clipcli.runs.apply.run import ApplyRun

    run = ApplyRun.of(plan, options, touches_nothing=keep_both)
    if keep_both or ignore_file is not None:
        run.decide(ignore_file, keep_all=keep_both)
    raise typer.Exit(0 if keep_both else run.apply(out.parse(null=False), yes=options.yes))
