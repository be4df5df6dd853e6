"""The options of `clipcli select`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.option_types import NullOption, WhereOption
from clipcli.options.shared import OutputOptions


@dataclass(frozen=True)
class RowOptions:
    """Rows to choose."""

    rows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ROWS",
            help="Rows of another command: .jsonl, .json, .csv, .tsv or .parquet. - reads JSON Lines from stdin.",
            show_default=False,
        ),
    ] = None
    min_score: Annotated[
        float | None, typer.Option("--min-score", metavar="S", help="Choose only rows with at least this score.")
    ] = None
    top_share: Annotated[
        float | None,
        typer.Option(
            "--top-share", metavar="SHARE", min=0.0, max=1.0,
            help="Choose only the best rows, this share of those that pass.",
        ),
    ] = None  # fmt: skip
    where: WhereOption = None
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="NAME", help="Column for --min-score and --top-share.", show_default="score"
        ),
    ] = None  # fmt: skip
    column: Annotated[
        str | None,
        typer.Option("--column", metavar="NAME", help="Column that names images.", show_default="image"),
    ] = None


@dataclass(frozen=True)
class SampleOptions:
    """Samples to copy."""

    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="SHARDS|DIR",
            help="Tar shards or folders that have the images. Repeatable.", show_default="as the rows name them",
        ),
    ] = None  # fmt: skip
    copy_to: Annotated[
        str | None,
        typer.Option("--copy-to", metavar="DIR", help="Copy chosen images to DIR, with the files that belong to them."),
    ] = None
    per_shard: Annotated[
        int, typer.Option("--per-shard", metavar="N", min=1, help="Samples per tar, if -o has a number.")
    ] = 10_000
    last_dot: Annotated[
        bool,
        typer.Option(
            "--last-dot",
            help="Names of samples in shards end at the last dot. By default at the first, as in webdataset.",
        ),
    ] = False


@dataclass(frozen=True)
class SelectOutputOptions(OutputOptions):
    """Output."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE",
            help="Write samples to a .tar or 'kept/{:05d}.tar'. Or write the chosen rows; the suffix sets the format.",
        ),
    ] = None  # fmt: skip
    null: NullOption = False
