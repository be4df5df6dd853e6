"""The options of `clipcli fit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.option_types import EXPECT_FROM
from clipcli.output.formats import spoken_formats


@dataclass(frozen=True)
class FitOptions:
    """Learning and output."""

    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Write the head to FILE, for classify --head."),
    ]
    expect_from: Annotated[str, EXPECT_FROM] = "parent"
    method: Annotated[
        str,
        typer.Option(
            "--method", metavar="NAME",
            help="Method: prototypes (mean picture of each label beside its text), linear (logistic regression), "
            "ridge (kernel ridge regression) or knn (votes of the nearest pictures).",
        ),
    ] = "prototypes"  # fmt: skip
    force: Annotated[
        bool, typer.Option("--force", help="Write the head even if it is not better than the labels' texts alone.")
    ] = False
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Random seed of the folds and intervals.")] = 0
    format: Annotated[
        str,
        typer.Option(  # for the rows on stdout, independent of -o
            "--format", "-f", metavar="FORMAT", envvar="CLIPCLI_FORMAT",
            help=f"Format of the rows on standard output: {spoken_formats()}.",
        ),
    ] = "auto"  # fmt: skip
