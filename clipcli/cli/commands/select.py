"""`clipcli select`: choose rows of another command, and copy their samples."""

from __future__ import annotations

import typer

from clipcli.options.select import RowOptions, SampleOptions, SelectOutputOptions
from clipcli.options.shared import VerbosityOptions

EVERYDAY = (
    "min_score", "top_share", "where", "sources", "copy_to", "per_shard", "last_dot", "column", "output", "format",
    "paths", "null", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    "clipcli select scores.parquet --min-score 0.28 -o 'kept/{:05d}.tar'",
    "clipcli select scores.csv --from 'shards/*.tar' --top-share 0.3 -o best.tar",
    "clipcli select scores.jsonl --top-share 0.3 --copy-to best/",
    "clipcli select rows.jsonl --where \"label = 'shoe' and price < 50\" --paths",
)


def select(rows: RowOptions, samples: SampleOptions, out: SelectOutputOptions, verbosity: VerbosityOptions) -> None:
    """Choose rows of another command, and copy their images with all files of each sample."""
    from clipcli.runs.select import plan

    raise typer.Exit(plan(rows, samples, out, verbosity.console()).carry_out())
