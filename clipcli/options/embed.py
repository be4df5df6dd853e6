"""The options of `clipcli embed`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.shared import InputOptions


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
