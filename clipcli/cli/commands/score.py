"""`clipcli score`: score how well each image fits its own text."""

from __future__ import annotations

import typer

from clipcli.options.score import PairOptions, ScoreLimitOptions, SeveralModelOptions
from clipcli.options.shared import CarriedOptions, OutputOptions, ReportOptions, RunOptions

EVERYDAY = (
    "column", "text", "keep", "prompts", "min_score", "top_share", "min_share", "report", "output", "format", "paths",
    "model", "device", "files_from", "include", "exclude", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    "clipcli score 'shards/{00000..00099}.tar' -o scores.jsonl",
    "clipcli score catalogue.csv --image photo --text title --keep sku",
    "clipcli score site.csv --text alt --min-score 0.2 --fail-under 0.95",
)


def score(
    pairs: PairOptions,
    carried: CarriedOptions,
    limits: ScoreLimitOptions,
    model: SeveralModelOptions,
    out: OutputOptions,
    reports: ReportOptions,
    run: RunOptions,
) -> None:
    """Score how well each image fits its own text: the cosine similarity of the two."""
    from clipcli.output import open_writer
    from clipcli.runs.base import execute
    from clipcli.runs.score import open_sessions, plan

    console = run.console()
    job = plan(pairs, carried.names, limits, console, where=carried.condition())
    output, choices, job.reporting = out.parse(null=pairs.null), model.choices(), reports.parse()
    opened = open_sessions(choices, console, run.session(pairs), job.expected)
    raise typer.Exit(execute(job, opened, lambda _: open_writer(output), console))
