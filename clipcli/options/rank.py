"""The options of `clipcli rank`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.shared import InputOptions, ReportOptions


@dataclass(frozen=True)
class CorpusOptions(InputOptions):
    """Which images, and which of them."""

    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY] IMAGES|VECTORS|INDEX",
            help="What to look for, then where: files, folders, - for a list on stdin, vectors of embed, or an index.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class QueryOptions:
    """What to look for, when it is not the first argument."""

    query: Annotated[
        list[str] | None,
        typer.Option("--query", "-e", metavar="QUERY", help="Look for this; then every argument is searched."),
    ] = None
    image: Annotated[
        list[str] | None,
        typer.Option("--image", "-i", metavar="FILE", help="Look for what is like this image; likewise."),
    ] = None
    queries: Annotated[
        str | None,
        typer.Option("--queries", metavar="FILE", help="Many queries: texts, one a line, or JSONL; - is stdin."),
    ] = None
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompts", "-p", metavar="NAME|FILE", help="Put words into these templates.", show_default="none"
        ),
    ] = None


@dataclass(frozen=True)
class HitOptions:
    """Which hits."""

    top: Annotated[
        int | None,
        typer.Option(
            "--top", "-k", metavar="K", min=1, help="At most K a query.", show_default="10, without a cut-off"
        ),
    ] = None
    min_score: Annotated[float | None, typer.Option("--min-score", metavar="S", help="Cut off below this cosine.")] = (
        None
    )
    relevant: Annotated[
        bool, typer.Option("--relevant", help="Cut off what does not stand out from the other images.")
    ] = False
    all: Annotated[bool, typer.Option("--all", help="Rank every image.")] = False
    exclude_copies: Annotated[
        bool, typer.Option("--exclude-copies", help="Leave out exact copies of the query image too.")
    ] = False


@dataclass(frozen=True)
class KeepOptions(ReportOptions):
    """What to make of the hits, and what CI is told."""

    report: Annotated[
        list[str] | None,
        typer.Option(
            "--report", metavar="FILE",
            help="A page of thumbnails that needs nothing else (.html); of a check, a report (.xml, .sarif, .md).",
        ),
    ] = None  # fmt: skip

    copy_to: Annotated[str | None, typer.Option("--copy-to", metavar="DIR", help="Copy hits, numbered by rank.")] = None
    link_to: Annotated[str | None, typer.Option("--link-to", metavar="DIR", help="Link to hits, likewise.")] = None
    fetch_names: Annotated[
        bool, typer.Option("--fetch-names", help="For the page and the preview, fetch URLs that a vector file names.")
    ] = False
    preview: Annotated[bool, typer.Option("--preview", help="Show thumbnails in the terminal below the rows.")] = False


@dataclass(frozen=True)
class RecallOptions:
    """What should be found."""

    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="FILE", help="A table of query and image: write recall@k in place of hits."),
    ] = None
    min_recall: Annotated[
        list[str] | None,
        typer.Option("--min-recall", metavar="K=R", help="Exit with 1 when recall@K is below R, such as 5=0.8."),
    ] = None
