"""The report of `rank`: hits as thumbnails, query by query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from clipcli.output.page import Card, Section, link_to, read_thumbnail, write_page
from clipcli.output.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.runs.rank.rows import Hit, Result, Searched

_SHOWN = 200
"""Cards of one query: beyond this a page is no longer looked at, and its size is in the tens of megabytes."""
_THUMBNAILS = 64
"""Thumbnails that stay in memory."""


@dataclass(frozen=True)
class HitsPage:
    """A page of hits: its path, and the search that its head describes."""

    path: str
    searched: Searched
    orient: bool = True
    fetch: bool = False
    """True if URLs named by a vector file are fetched for their pictures."""

    def write(self, results: Sequence[Result]) -> None:
        """Write it, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        queries = f"{len(results)} {'query' if len(results) == 1 else 'queries'}"
        lead = (
            f"{queries} over {self.searched.rows:,} {self.searched.kind}s; scores are cosines by {self.searched.model}"
        )
        title = results[0].query.name if len(results) == 1 else f"clipcli rank: {queries}"
        with open_target(self.path) as target:
            write_page(target, title, lead, self._sections(results), labels="Query")

    def _sections(self, results: Sequence[Result]) -> Iterator[Section]:
        for result in results:
            cards = tuple(self._card(hit, result.query.name) for hit in result.hits[:_SHOWN])
            note = "nothing found" if not result.hits else ""
            if len(result.hits) > _SHOWN:
                note = f"the first {_SHOWN} of {len(result.hits):,}"
            shown = (self._picture(path) for path in result.query.images)
            yield Section(result.query.name, cards, note, tuple(uri for uri in shown if uri))

    def _card(self, hit: Hit, query: str) -> Card:
        picture = None if hit.is_far and not self.fetch else self._picture(hit.path)
        link = link_to(hit.path, self.path) if picture else None
        return Card(hit.name, picture, str(hit.rank), link=link, label=query, score=hit.score)

    def _picture(self, path: str) -> str | None:
        return _kept_thumbnail(path, self.orient)


@lru_cache(_THUMBNAILS)
def _kept_thumbnail(path: str, orient: bool) -> str | None:
    return read_thumbnail(path, orient=orient)
