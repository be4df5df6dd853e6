"""The options of `clipcli calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class CalibrateOptions:
    """What is looked for, and where it goes."""

    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="The thresholds, for classify --thresholds."),
    ]
    expect_from: Annotated[
        str,
        typer.Option(
            "--expect-from", metavar="parent|FILE",
            help="An image's label: its folder's name (parent), or a .csv or .jsonl of path and label.",
        ),
    ] = "parent"  # fmt: skip
    objective: Annotated[
        str,
        typer.Option("--objective", metavar="f1|decisions", help="Best F1, or most right acceptances and refusals."),
    ] = "f1"
    precision_target: Annotated[
        float | None,
        typer.Option(
            "--precision-target", metavar="P", min=0.0, max=1.0,
            help="The lowest thresholds of this precision, in place of that.",
        ),
    ] = None  # fmt: skip
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="For classify --multi-label: every label for itself.")
    ] = False
    background: Annotated[
        list[str] | None,
        typer.Option("--background", metavar="TEXT", help="What 'none of these' looks like, as in classify."),
    ] = None
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the folds and the bootstrap.")] = 0
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help="Of the rows: auto, table, tsv, csv, jsonl, json.")
    ] = "auto"
