"""`clipcli cache info | clear | prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.errors import ExitCode
from clipcli.options.option_types import CacheDirOption
from clipcli.options.shared import TableOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.cache import EmbeddingCache
    from clipcli.core.console import Console
    from clipcli.models.records import FastCopy


def info(output: TableOptions, cache_dir: CacheDirOption = None) -> None:  # noqa: ARG001 - set as a variable
    """Show where the cache is and what it holds, by model."""
    from clipcli.cache import EmbeddingCache
    from clipcli.core.console import Console
    from clipcli.models.records import fast_copies
    from clipcli.output import open_writer

    table_output = output.parse_table()
    console = Console()
    with EmbeddingCache.open(say=console.warning) as cache:
        console.info(f"{cache.folder}")
        if copies := fast_copies():
            console.info(f"{_copies_summary(copies)}; clipcli cache clear --copies removes them")
        with open_writer(table_output) as writer:
            for space in cache.info():
                writer.write(space)


def clear(
    copies: Annotated[bool, typer.Option("--copies", help="Also remove the fast-starting copies of models.")] = False,
    cache_dir: CacheDirOption = None,  # noqa: ARG001 - set as a variable
) -> None:
    """Remove all vectors from the cache. Later runs compute them again."""
    from clipcli.cache import EmbeddingCache
    from clipcli.core.console import Console
    from clipcli.models.records import remove_fast_copies

    console = Console()
    with EmbeddingCache.open(say=console.warning) as cache:
        if copies:
            console.info(f"{_copies_summary(remove_fast_copies())}: removed")
        _conclude(cache, cache.clear(), console)


def _copies_summary(copies: Sequence[FastCopy]) -> str:
    return f"fast-starting copies of models: {len(copies)}, {sum(copy.size for copy in copies) / 1e6:,.0f} MB"


def prune(
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="Remove the least recently used vectors until the file has this size (500M, 2GB).",
        ),
    ] = None,
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", metavar="DAYS", min=1, help="Remove vectors that were not used for DAYS days."),
    ] = None,
    cache_dir: CacheDirOption = None,  # noqa: ARG001 - set as a variable
) -> None:
    """Remove old vectors from the cache, or the least recently used until it is small enough."""
    from datetime import timedelta

    from clipcli.cache import EmbeddingCache, parse_size
    from clipcli.core.console import Console
    from clipcli.errors import UsageError

    if max_size is None and older_than is None:
        raise UsageError("cache prune needs a limit", hint="give --max-size SIZE or --older-than DAYS")
    bound = None if max_size is None else parse_size(max_size)
    console = Console()
    with EmbeddingCache.open(say=console.warning) as cache:
        removed = cache.prune(bound, None if older_than is None else timedelta(days=older_than))
        _conclude(cache, removed, console)


def _conclude(cache: EmbeddingCache, removed: int, console: Console) -> None:
    """Print what was removed; a cache that cannot be written has already printed a warning."""
    if not cache.is_writable:
        raise typer.Exit(ExitCode.OUTPUT)
    console.info(f"{removed:,} vectors removed from {cache.folder}")


EXAMPLES = (
    "clipcli cache info",
    "clipcli cache prune --older-than 90",
)

COMMANDS = {"info": info, "clear": clear, "prune": prune}
