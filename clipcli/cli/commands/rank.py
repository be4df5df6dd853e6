"""`clipcli rank`: find images by words and by example."""

from __future__ import annotations

import typer

from clipcli.options.rank import CorpusOptions, HitOptions, KeepOptions, QueryOptions, RecallOptions
from clipcli.options.shared import CarriedOptions, ModelOptions, OutputOptions, RunOptions, is_on_command_line

EVERYDAY = (
    "query", "image", "queries", "top_k", "min_score", "relevant", "copy_to", "report", "preview", "relevance",
    "min_recall", "output", "format", "paths", "model", "device", "include", "exclude", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    'clipcli rank "two parrots on a branch" photos/',
    "clipcli rank photo.jpg photos/ --report hits.html",
    'clipcli rank "2:golden retriever + ./pool.jpg - fruit" photos/ -k 20',
    'clipcli rank "red shoes" shop.npy --paths -0 | xargs -0 cp -t picks/',
)


def rank(
    context: typer.Context,
    corpus: CorpusOptions,
    carried: CarriedOptions,
    query: QueryOptions,
    hits: HitOptions,
    keep: KeepOptions,
    check: RecallOptions,
    model: ModelOptions,
    out: OutputOptions,
    run: RunOptions,
) -> None:
    """Find the images that match words, an example image, or both, best first."""
    from dataclasses import replace

    from clipcli.output import open_writer
    from clipcli.runs.base import execute
    from clipcli.runs.rank import plan
    from clipcli.session.session import open_session

    console = run.console()
    job = plan(corpus, query, hits, keep, check, console, carry=carried.names, where=carried.condition())
    choice = job.follow(model, is_named=is_on_command_line(context, "model")).choice()
    output = out.parse(null=corpus.null)
    if job.stream is not None and output.format == "auto":  # a table waits for the last row
        output = replace(output, format="tsv")
    opened = open_session(choice, console, run.session(corpus), expected_images=job.total)
    raise typer.Exit(execute(job, opened, lambda _: open_writer(output), console))
