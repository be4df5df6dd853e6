"""The rows of `rank`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipcli.inputs.query import Query


@dataclass(frozen=True)
class Searched:
    """The corpus and the model of a search."""

    model: str
    rows: int
    kind: Literal["image", "text"]


@dataclass(frozen=True)
class Hit:
    """One image of one query."""

    rank: int
    name: str
    path: str
    """The path for the operating system to open."""
    score: float
    is_far: bool = False
    """True if it is a URL from a vector file or an index, chosen by the author of that file and not by the user."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """Columns of the table that the image is a row of."""


@dataclass(frozen=True)
class Result:
    """The hits of one query."""

    number: int
    """Number of the query; the first is 1."""
    query: Query
    hits: tuple[Hit, ...]

    def rows(self, kind: Literal["image", "text"]) -> Iterator[RankedRow]:
        """Yield one row per hit."""
        for hit in self.hits:
            yield RankedRow(self.query.name, hit.rank, hit.name, hit.score, self.query.id, kind)


OWN_COLUMNS = ("id", "query", "rank", "image", "text", "score", "error")
"""Names that a column of a table cannot have in the output."""
_DIGITS = 4
_JSON_DIGITS = 6


@dataclass(frozen=True)
class RankedRow:
    """One hit of one query."""

    query: str
    rank: int
    """Rank within the query; 1 is the best."""
    image: str
    """Name of the image, or the text in a corpus of texts."""
    score: float
    """Cosine of query and image, -1 to 1."""
    id: str | None = None
    """Id of the query; empty if only other queries have one, None if no query has one."""
    kind: Literal["image", "text"] = "image"

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns; ids come first, if there are any."""
        return (*(() if self.id is None else ("id",)), "query", "rank", self.kind, "score")

    @property
    def path(self) -> str | None:
        """Return the image for a list of bare paths."""
        return self.image if self.kind == "image" else None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        first: dict[str, object] = {"id": self.id} if self.id else {}
        row = {"query": self.query, "rank": self.rank, self.kind: self.image, "score": round(self.score, _JSON_DIGITS)}
        return first | row

    def cells(self) -> list[tuple[str, ...]]:
        """Return one line."""
        first = () if self.id is None else (self.id,)
        return [(*first, self.query, str(self.rank), self.image, f"{self.score:.{_DIGITS}f}")]


@dataclass(frozen=True)
class MeasureRow:
    """One figure of an evaluation."""

    measure: str
    value: float
    needed: float | None = None
    columns: ClassVar[tuple[str, ...]] = ("measure", "value", "needed")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        row: dict[str, object] = {"measure": self.measure, "value": round(self.value, _JSON_DIGITS)}
        return row if self.needed is None else row | {"needed": self.needed}

    def cells(self) -> list[tuple[str, ...]]:
        """Return one line."""
        value = str(self.value) if isinstance(self.value, int) else f"{self.value:.{_DIGITS}f}"
        return [(self.measure, value, "" if self.needed is None else f"{self.needed:g}")]
