"""`clipcli embed`: images or texts become vectors, in the format that the next tool reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options import InputOptions, ModelOptions, RunOptions

EPILOG = """Examples:

clipcli embed photos/ -o photos.parquet

clipcli embed photos/ | head -1

clipcli embed --texts-from captions.csv --column caption -o captions.npy

clipcli embed photos/ -o part3.npy --shard 3/8

clipcli embed 's3://bucket/shards/{00000..00099}.tar' -o photos.parquet

clipcli embed photos/ -o photos.parquet --on ray://head:10001"""


@dataclass(frozen=True)
class EmbedInputOptions(InputOptions):
    """Which images."""

    column: Annotated[
        str | None,
        typer.Option(
            "--column", metavar="NAME",
            help="Of tables: which column holds images, paths of images, or with --texts-from the texts.",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class TextOptions:
    """Which texts, instead of images."""

    text: Annotated[list[str] | None, typer.Option("--text", "-t", metavar="TEXT", help="A text.")] = None
    texts_from: Annotated[
        list[str] | None,
        typer.Option(
            "--texts-from", metavar="FILE",
            help="Texts, one a line, of a file or URL; a table (.csv, .tsv, .jsonl, .parquet); .tar; - is stdin.",
        ),
    ] = None  # fmt: skip
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompts", "-p", metavar="NAME|FILE",
            help="Put each text into these templates and take the mean.", show_default="none",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class VectorOptions:
    """Which vectors, and where they go."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to FILE or a URL (s3://…), whole; its suffix is the format."
        ),
    ] = None
    format: Annotated[
        str,
        typer.Option("--format", "-f", metavar="FORMAT", help="npy, npz, parquet, safetensors, jsonl or csv."),
    ] = "auto"
    dtype: Annotated[str, typer.Option("--dtype", metavar="TYPE", help="float32 or float16.")] = "float32"
    raw: Annotated[bool, typer.Option("--raw", help="The model's own vectors, not made unit length.")] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run with the same -o was stopped.")] = False
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Only the I-th share of N; clipcli merge joins them."),
    ] = None


@dataclass(frozen=True)
class ClusterOptions:
    """Where the work is done."""

    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="CLUSTER",
            help="Work on a Ray cluster: ray (one for this run, here), auto, HOST:PORT or ray://HOST:PORT.",
            show_default="this process",
        ),
    ] = None  # fmt: skip
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-worker", metavar="N", min=0.0, help="GPUs a worker of the cluster; 0.5 shares one between two."
        ),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", metavar="N", min=1, help="Workers of the cluster at most; all it has room for."),
    ] = None


def embed(
    inputs: EmbedInputOptions,
    texts: TextOptions,
    model: ModelOptions,
    out: VectorOptions,
    run: RunOptions,
    cluster: ClusterOptions,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much there is to do.")] = False,
) -> None:
    """Turn images, or texts, into vectors: npy, npz, Parquet, safetensors, JSON Lines or CSV."""
    from dataclasses import replace

    from clipcli.cluster.wishes import parse_wishes
    from clipcli.embedding import open_embedder, plan

    wishes = parse_wishes(cluster.on, cluster.gpus_per_worker, cluster.concurrency)
    talk, choice = run.talk(), model.choice()
    job = plan(inputs, texts, out, talk)
    options = replace(run.session(inputs), raw=out.raw)
    if dry_run:
        with job.open_session(choice, options) as session:
            job.print_estimate(session)
        return
    embedder = open_embedder(job, wishes, choice, options)
    with job.place() as parts, embedder as session:
        with talk.progress(job.total, job.source.kind) as advance:
            job.run(session, parts, advance)
        code = job.conclude(session)
        session.finish()
    raise typer.Exit(code)
