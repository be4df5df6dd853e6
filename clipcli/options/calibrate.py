"""The options of `clipcli calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class CalibrateOptions:
    """Calibration and output."""

    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Write the thresholds here, for classify --thresholds."),
    ]
    expect_from: Annotated[
        str,
        typer.Option(
            "--expect-from", metavar="parent|FILE",
            help="Right labels: the name of each image's folder (parent), or a .csv or .jsonl of path and label.",
        ),
    ] = "parent"  # fmt: skip
    objective: Annotated[
        str,
        typer.Option("--objective", metavar="f1|decisions", help="Maximize F1, or the number of right decisions."),
    ] = "f1"
    target_precision: Annotated[
        float | None,
        typer.Option(
            "--target-precision", metavar="P", min=0.0, max=1.0,
            help="Choose the lowest thresholds with at least this precision, instead of an objective.",
        ),
    ] = None  # fmt: skip
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Calibrate each label on its own, for classify --multi-label.")
    ] = False
    background: Annotated[
        list[str] | None,
        typer.Option(
            "--background", metavar="TEXT", help="Description of 'none of these', as in classify. Repeatable."
        ),
    ] = None
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Random seed of the folds and the bootstrap.")] = 0
    format: Annotated[
        str,
        typer.Option(  # of the rows on stdout: the file of -o has no say in it
            "--format", "-f", metavar="FORMAT", envvar="CLIPCLI_FORMAT",
            help="Format of the rows: table, tsv, csv, jsonl, json, parquet or auto.",
        ),
    ] = "auto"  # fmt: skip
