"""The options of `clipcli embed`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.option_types import OutputFileOption
from clipcli.options.shared import InputOptions


@dataclass(frozen=True)
class EmbedInputOptions(InputOptions):
    """Inputs."""

    column: Annotated[
        str | None,
        typer.Option(
            "--column", metavar="NAME",
            help="Column of a table with the images or texts. Images can be paths.",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class TextOptions:
    """Texts instead of images."""

    text: Annotated[
        list[str] | None, typer.Option("--text", "-t", metavar="TEXT", help="Embed this text. Repeatable.")
    ] = None
    texts_from: Annotated[
        list[str] | None,
        typer.Option(
            "--texts-from", metavar="FILE",
            help="Embed texts, one per line, from FILE. FILE can be a URL, - (stdin), a table or a .tar.",
        ),
    ] = None  # fmt: skip
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompts", "-p", metavar="NAME|FILE",
            help="Put each text into these templates and average the vectors.", show_default="none",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class VectorOptions:
    """Output."""

    output: OutputFileOption = None
    format: Annotated[
        str,
        typer.Option("--format", "-f", metavar="FORMAT", help="npy, npz, parquet, safetensors, jsonl or csv."),
    ] = "auto"
    dtype: Annotated[str, typer.Option("--dtype", metavar="TYPE", help="float32 or float16.")] = "float32"
    normalize: Annotated[
        bool,
        typer.Option("--normalize/--no-normalize", help="Scale vectors to unit length, or leave them as they are."),
    ] = True
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run with the same -o.")] = False
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Embed only part I of N. clipcli merge joins them."),
    ] = None


@dataclass(frozen=True)
class ClusterOptions:
    """Ray cluster."""

    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="ADDRESS",
            help="Run on a Ray cluster. local starts one for this run; or auto, HOST:PORT or ray://HOST:PORT.",
        ),
    ] = None  # fmt: skip
    gpus_per_worker: Annotated[
        float | None,
        typer.Option("--gpus-per-worker", metavar="N", min=0.0, help="GPUs per worker. 0.5 lets two share one GPU."),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", metavar="N", min=1, help="Number of workers.", show_default="all that fit on the cluster"
        ),
    ] = None


@dataclass(frozen=True)
class StateOptions:
    """States of the text encoder."""

    tokens: Annotated[
        bool, typer.Option("--tokens", help="Write the text encoder's states for each token, not one vector per text.")
    ] = False
    layer: Annotated[
        int, typer.Option("--layer", metavar="N", max=-1, help="Layer of --tokens: -1 is the last, -2 the one before.")
    ] = -1
    final_norm: Annotated[
        bool,
        typer.Option(
            "--final-norm/--no-final-norm", help="Apply the encoder's final layer norm to the states, or not."
        ),
    ] = True
    pad_with_end: Annotated[
        bool, typer.Option("--pad-with-end", help="Pad with the end token, as Stable Diffusion 1 does, not with 0.")
    ] = False
    chunks: Annotated[
        bool, typer.Option("--chunks", help="Read long texts in several chunks, one row each, instead of cutting them.")
    ] = False
