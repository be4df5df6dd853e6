"""`clipcli merge`: join shards of one run, or vector files of one model, into one file."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = (
    "clipcli merge part1.npy part2.npy part3.npy -o photos.npy",
    "clipcli merge stopped.npy.parts --incomplete -o so-far.parquet",
)


def merge(
    parts: Annotated[
        list[str], typer.Argument(metavar="PARTS", help="Vector files, or the folder of parts of an interrupted run.")
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File or URL (s3://…) to write. The suffix sets the format."
        ),
    ],
    format: Annotated[  # noqa: A002
        str, typer.Option("--format", "-f", metavar="FORMAT", help="npy, npz, parquet, safetensors, jsonl or csv.")
    ] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", metavar="TYPE", help="Number type: float32 or float16.")] = "float32",
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Also merge when parts are missing or unfinished.")
    ] = False,
) -> None:
    """Join the parts of one run in the order of its inputs, or append files of one model."""
    from clipcli.core.console import Console
    from clipcli.errors import UsageError
    from clipcli.runs.embed.validate import parse_target
    from clipcli.vectorfiles.merge import merge as join
    from clipcli.vectorfiles.merge import open_all
    from clipcli.vectorfiles.writer import remove_staging_folder, upload_vectors

    target = parse_target(output, format, dtype)
    if target.path is None:
        raise UsageError("merge writes a file", hint="give -o FILE")
    rows = join(open_all(parts), target.path, target.format, target.dtype, complete=not incomplete)
    if target.url is not None:
        upload_vectors(target.path, target.url, hint="run it again")
        remove_staging_folder(target.path)
    Console().info(f"{rows:,} vectors in {target.shown}")
