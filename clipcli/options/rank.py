"""The options of `clipcli rank`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.options.shared import InputOptions, ReportOptions
from clipcli.output.reports import spoken_check_reports


@dataclass(frozen=True)
class CorpusOptions(InputOptions):
    """Images to search."""

    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY] IMAGES|VECTORS|INDEX",
            help="What to look for, then where: files, folders, globs, - (a list on stdin), vectors from embed or "
            "an index.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class QueryOptions:
    """Queries, when the first argument is not one."""

    query: Annotated[
        list[str] | None,
        typer.Option(
            "--query", "-e", metavar="QUERY", help="Look for this. Every argument is then searched. Repeatable."
        ),
    ] = None
    image: Annotated[
        list[str] | None,
        typer.Option("--image", "-i", metavar="FILE", help="Look for images like this one. Repeatable."),
    ] = None
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries", metavar="FILE", help="Look for each line of FILE. FILE can be JSON Lines; - is stdin."
        ),
    ] = None
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompts", "-p", metavar="NAME|FILE", help="Put the query into these templates.", show_default="none"
        ),
    ] = None


TOP_K = 10
"""Hits of a query where nothing else limits them."""


@dataclass(frozen=True)
class HitOptions:
    """Hits."""

    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k", "-k", metavar="K", min=1, help="Hits per query.", show_default=f"{TOP_K}; all with a cut-off",
        ),
    ] = None  # fmt: skip
    min_score: Annotated[
        float | None, typer.Option("--min-score", metavar="S", help="Drop hits whose cosine is below S.")
    ] = None
    relevant: Annotated[bool, typer.Option("--relevant", help="Drop hits that do not stand out.")] = False
    all: Annotated[bool, typer.Option("--all", help="Rank every image.")] = False
    exclude_copies: Annotated[
        bool, typer.Option("--exclude-copies", help="Also leave out exact copies of the query image.")
    ] = False


@dataclass(frozen=True)
class KeepOptions(ReportOptions):
    """Pages, copies and reports."""

    report: Annotated[
        list[str] | None,
        typer.Option(
            "--report", metavar="FILE",
            help=f"Write a page of the hits (.html). With --min-recall also {spoken_check_reports()}. Repeatable.",
        ),
    ] = None  # fmt: skip
    copy_to: Annotated[
        str | None, typer.Option("--copy-to", metavar="DIR", help="Copy hits to DIR, numbered by rank.")
    ] = None
    link_to: Annotated[
        str | None, typer.Option("--link-to", metavar="DIR", help="Link hits in DIR, numbered by rank.")
    ] = None
    fetch_names: Annotated[
        bool, typer.Option("--fetch-names", help="Fetch URLs named by a vector file, for the page and the preview.")
    ] = False
    preview: Annotated[bool, typer.Option("--preview", help="Show thumbnails below the rows in the terminal.")] = False


@dataclass(frozen=True)
class RecallOptions:
    """Recall checks."""

    relevance: Annotated[
        str | None,
        typer.Option(
            "--relevance",
            metavar="FILE",
            help="Report recall@k for a table of queries. FILE is a .csv or .jsonl of query and image.",
        ),
    ] = None
    min_recall: Annotated[
        list[str] | None,
        typer.Option(
            "--min-recall", metavar="K=R", help="Exit with 1 when recall@K is below R. Such as 5=0.8. Repeatable."
        ),
    ] = None
