"""What was found, ready to be written, shown and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.output.ranked import RankedRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from clipcli.query import Query


@dataclass(frozen=True)
class Searched:
    """What hits were searched in, and by which model."""

    model: str
    rows: int
    kind: Literal["image", "text"]


@dataclass(frozen=True)
class Hit:
    """One image of one query."""

    rank: int
    name: str
    path: str
    """What the operating system opens."""
    score: float
    is_far: bool = False
    """Whether it is a URL that a vector file or an index names: whoever made that file chose it, not the user."""


@dataclass(frozen=True)
class Result:
    """What one query found."""

    number: int
    """Of the query, 1 for the first."""
    query: Query
    hits: tuple[Hit, ...]

    def rows(self, kind: Literal["image", "text"]) -> Iterator[RankedRow]:
        """A row a hit."""
        for hit in self.hits:
            yield RankedRow(self.query.name, hit.rank, hit.name, hit.score, self.query.id, kind)
