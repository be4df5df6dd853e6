"""`clipcli cache info | clear | prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.errors import ExitCode
from clipcli.options import TableOptions

if TYPE_CHECKING:
    from clipcli.cache import EmbeddingCache
    from clipcli.talk import Talk


def info(output: TableOptions) -> None:
    """Show where the cache is and what it holds, by model."""
    from clipcli.cache import EmbeddingCache
    from clipcli.output import open_writer
    from clipcli.talk import Talk

    wanted = output.parse_table()
    talk = Talk()
    with EmbeddingCache.open(say=talk.warn) as cache:
        talk.note(f"{cache.folder}")
        with open_writer(wanted) as writer:
            for space in cache.info():
                writer.write(space)


def clear() -> None:
    """Remove every kept vector; what is needed is computed again."""
    from clipcli.cache import EmbeddingCache
    from clipcli.talk import Talk

    talk = Talk()
    with EmbeddingCache.open(say=talk.warn) as cache:
        _conclude(cache, cache.clear(), talk)


def prune(
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size", metavar="SIZE", help="Remove the longest unused until the file is at most 500M, 2GB, …"
        ),
    ] = None,
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", metavar="DAYS", min=1, help="Remove what was not used for so many days."),
    ] = None,
) -> None:
    """Remove kept vectors by age or until the file is small enough."""
    from datetime import timedelta

    from clipcli.cache import EmbeddingCache, parse_size
    from clipcli.errors import UsageError
    from clipcli.talk import Talk

    if max_size is None and older_than is None:
        raise UsageError("nothing to prune by", hint="give --max-size SIZE or --older-than DAYS")
    bound = None if max_size is None else parse_size(max_size)
    talk = Talk()
    with EmbeddingCache.open(say=talk.warn) as cache:
        removed = cache.prune(bound, None if older_than is None else timedelta(days=older_than))
        _conclude(cache, removed, talk)


def _conclude(cache: EmbeddingCache, removed: int, talk: Talk) -> None:
    """Say what was removed; a cache that could not be written has said so."""
    if not cache.is_writable:
        raise typer.Exit(ExitCode.OUTPUT)
    talk.note(f"{removed:,} vectors removed from {cache.folder}")


COMMANDS = {"info": info, "clear": clear, "prune": prune}
