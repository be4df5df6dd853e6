"""The options of `clipcli calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.option_types import EXPECT_FROM
from clipcli.output.formats import spoken_formats


@dataclass(frozen=True)
class CalibrateOptions:
    """Calibration and output."""

    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Write the thresholds to FILE."),
    ]
    expect_from: Annotated[str, EXPECT_FROM] = "parent"
    objective: Annotated[
        str,
        typer.Option("--objective", metavar="f1|decisions", help="Maximize F1 or right decisions."),
    ] = "f1"
    target_precision: Annotated[
        float | None,
        typer.Option(
            "--target-precision", metavar="P", min=0.0, max=1.0,
            help="Choose the lowest thresholds with this precision. Replaces --objective.",
        ),
    ] = None  # fmt: skip
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Calibrate each label on its own, for classify --multi-label.")
    ] = False
    background: Annotated[
        list[str] | None,
        typer.Option(
            "--background", metavar="TEXT", help="What 'none of these' looks like, as in classify. Repeatable."
        ),
    ] = None
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Random seed of the folds and the bootstrap.")] = 0
    report: Annotated[
        list[str] | None,
        typer.Option(
            "--report", metavar="FILE",
            help="Write a page of reliability and precision-recall curves (.html). Repeatable.",
        ),
    ] = None  # fmt: skip
    format: Annotated[
        str,
        typer.Option(  # for the rows on stdout, independent of -o
            "--format", "-f", metavar="FORMAT", envvar="CLIPCLI_FORMAT",
            help=f"Format of the rows on standard output: {spoken_formats()}.",
        ),
    ] = "auto"  # fmt: skip
