"""The types of options that several commands offer: each `Annotated` type is written once."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from clipcli.engines.registry import ENGINE_HELP

EXPECT_FROM: Final[Any] = typer.Option(
    "--expect-from", metavar="parent|FILE",
    help="Right labels: parent (folder name) or a table. A table is a .csv or .jsonl of path and label.",
)  # fmt: skip
"""Its default differs between commands, and so does its type."""
AnnotateOption = Annotated[
    str,
    typer.Option(
        "--annotate", metavar="WHERE",
        help="Mark failing images in the pull request: github, none, or auto (in GitHub Actions).",
    ),
]  # fmt: skip
IncludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="GLOB",
        help="Read only files that match, such as '*.jpg'. Also a folder: 'raw', 'a/raw/*'. Repeatable.",
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="GLOB", help="Skip files and folders that match. Repeatable."),
]
NullOption = Annotated[
    bool,
    typer.Option(
        "--null",
        "-0",
        help="Separate paths by NUL bytes. In lists that are read and written.",
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="CONDITION",
        help="Read only rows that meet an SQL condition on the columns, such as 'price < 50'.",
    ),
]  # fmt: skip
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--labels", "-l", metavar="A,B,...", help="Labels, separated by commas. @imagenet is a named set. Repeatable."
    ),
]
LabelsFileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--labels-file",
        metavar="FILE",
        help="File of labels, one per line. 'name: phrase; phrase' gives a label synonyms. Repeatable.",
    ),
]
OutputFileOption = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE",
        help="Write to FILE; its suffix sets the format. FILE can be a URL (s3://…). It appears when complete.",
    ),
]  # fmt: skip
PromptsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompts", "-p", metavar="NAME|FILE",
        help="Prompt templates: set or file. clipcli prompts list shows the sets. Repeatable.",
        show_default="photo",
    ),
]  # fmt: skip
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", envvar="CLIPCLI_DEVICE", help="auto, cpu, cuda, cuda:N or mps."),
]
PrecisionOption = Annotated[
    str,
    typer.Option("--precision", metavar="P", envvar="CLIPCLI_PRECISION", help="auto, fp32, fp16 or bf16."),
]
EngineOption = Annotated[
    str,
    typer.Option("--engine", metavar="NAME", envvar="CLIPCLI_ENGINE", help=ENGINE_HELP),
]
OfflineOption = Annotated[bool, typer.Option("--offline", envvar="CLIPCLI_OFFLINE", help="Never use the network.")]
WeightsDirOption = Annotated[
    str | None,
    typer.Option(
        "--weights-dir", metavar="DIR", envvar="CLIPCLI_WEIGHTS_DIR",
        help="Keep downloaded weights in DIR instead of the Hugging Face cache.",
    ),
]  # fmt: skip
CacheDirOption = Annotated[
    str | None,
    typer.Option(
        "--cache-dir", metavar="DIR", envvar="CLIPCLI_CACHE_DIR",
        help="Keep clipcli's own cache (vectors, fast-starting copies) in DIR.",
        show_default="the user's cache folder",
    ),
]  # fmt: skip
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress bars and no notes. Failures are still shown."),
]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show the model, the device and timings."),
]
NoCacheOption = Annotated[
    bool,
    typer.Option("--no-cache", envvar="CLIPCLI_NO_CACHE", help="Neither read nor write the cache of vectors."),
]
RefreshOption = Annotated[
    bool, typer.Option("--refresh", help="Compute every vector again and replace it in the cache.")
]
CacheMaxSizeOption = Annotated[
    str | None,
    typer.Option(
        "--cache-max-size", metavar="SIZE", envvar="CLIPCLI_CACHE_MAX_SIZE",
        help="Size limit of the cache of vectors, such as 500M.", show_default="2GB",
    ),
]  # fmt: skip
CacheDtypeOption = Annotated[
    str | None,
    typer.Option(
        "--cache-dtype", metavar="TYPE", envvar="CLIPCLI_CACHE_DTYPE",
        help="Number type in the cache: float32 or float16.", show_default="float32",
    ),
]  # fmt: skip
