"""`clipcli embed`: turn images or texts into vectors."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.options.embed import ClusterOptions, EmbedInputOptions, StateOptions, TextOptions, VectorOptions
from clipcli.options.shared import CarriedOptions, ModelOptions, RunOptions

EVERYDAY = (
    "text", "texts_from", "output", "format", "dtype", "resume", "shard", "dry_run", "model", "device", "ray",
    "files_from", "null", "column", "keep", "include", "exclude", "quiet",
)  # fmt: skip
"""Options in `--help`."""
EXAMPLES = (
    "clipcli embed photos/ -o photos.parquet",
    'clipcli embed "a dog" "a cat"',
    "clipcli embed --texts-from captions.csv --column caption -o captions.npy",
    'clipcli embed "s3://bucket/shards/{00000..00099}.tar" -o photos.parquet',
    "clipcli embed shop.csv --column photo --keep sku,price -o shop.parquet",
)


def embed(
    inputs: EmbedInputOptions,
    carried: CarriedOptions,
    texts: TextOptions,
    model: ModelOptions,
    out: VectorOptions,
    states: StateOptions,
    run: RunOptions,
    cluster: ClusterOptions,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show how much there is to do.")] = False,
) -> None:
    """Turn images or texts into vectors: npy, npz, Parquet, safetensors, JSON Lines or CSV."""
    from dataclasses import replace

    from clipcli.errors import UsageError
    from clipcli.runs.base import execute
    from clipcli.runs.embed import open_embedder, plan, refuse_state_options
    from clipcli.session.ray.resources import parse_cluster_spec

    keep, where = carried.names, carried.condition()
    if states.tokens:
        ignored = {"--keep": keep, "--where": where is not None, "--dry-run": dry_run, "--ray": cluster.ray}
        if option := next((name for name, is_given in ignored.items() if is_given), None):
            raise UsageError(f"--tokens and {option} do not go together", hint=f"leave out {option}")
        raise typer.Exit(_embed_tokens(inputs, texts, states, model, out, run))
    refuse_state_options(states)
    cluster_spec = parse_cluster_spec(cluster.ray, cluster.gpus_per_worker, cluster.concurrency)
    console, choice = run.console(), model.choice()
    job = plan(inputs, texts, out, console, keep=keep, where=where)
    options = replace(run.session(inputs), raw=not out.normalize)
    if dry_run:
        with job.open_session(choice, options) as session:
            job.print_estimate(session)
        return
    embedder = open_embedder(job, cluster_spec, choice, options)
    with job.hold_target():
        code = execute(job, embedder, job.open_sink, console)
    raise typer.Exit(code)


def _embed_tokens(
    inputs: EmbedInputOptions,
    texts: TextOptions,
    states: StateOptions,
    model: ModelOptions,
    out: VectorOptions,
    run: RunOptions,
) -> int:
    """Write the text encoder's states and return the exit code."""
    from clipcli.runs.base import execute
    from clipcli.runs.embed import plan_states
    from clipcli.session.session import open_session

    console = run.console()
    job = plan_states(inputs, texts, states, out, console)
    opened = open_session(job.choice(model.choice()), console, run.session(inputs), expected_texts=job.total)
    return execute(job, opened, job.open_sink, console)
