"""Groups without chains: a member was verified against the file that is kept, not against another member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.dedupe.pairs import Indices

_FIRST: Final = 8
"""Candidates that are verified together."""
_LEADERS_AHEAD: Final = 48
_ROWS_AT_ONCE: Final = 4096
_ALL_PAIRS: Final = 32_768


@dataclass(frozen=True)
class Grouping:
    """Who leads whom."""

    leader: Indices
    """(n,) the row that each row was verified against; its own number for those that lead or stand alone."""
    unseen: int
    """Candidates that were not looked at because too many before them failed."""


@dataclass(frozen=True)
class Search:
    """How far `group` looks for the members of a leader.

    A member leads to what is near it: a thumbnail of a bordered picture may be nearer to the plain one than to the
    keeper. So candidates of members are candidates of their leader too.
    """

    patience: int
    """Candidates of one leader that may fail; the rest are counted and not compared."""
    kinds: Indices
    """(rows,) rows of one kind have the same candidates, so that those of one of them are enough."""
    prepare: Callable[[list[tuple[int, int]]], object] = lambda _pairs: None
    """Told pairs that will be verified soon, so that they can be compared together."""


def group(
    order: Indices,
    rows: int,
    candidates: Callable[[int], Indices],
    verify: Callable[[int, Indices], npt.NDArray[np.bool_]],
    search: Search | None = None,
    *,
    advance: Callable[[int], object] = lambda _n: None,
) -> Grouping:
    """Let the best row gather all that match it, then the best of the rest, and so on.

    The result depends on `order` alone: a row joins the best leader that it matches, in whatever order rows came in.

    Args:
        order: Rows that have candidates, best first.
        rows: How many rows there are in all.
        candidates: Row → rows that may match it, the most alike first. Symmetric.
        verify: Row, some candidates → which of them do match. Symmetric.
        search: How far to look; None to verify the candidates of leaders, all of them.
        advance: Told how many rows of `order` are done, for a progress bar.
    """
    leader = np.full(rows, -1, np.int64)
    unseen, prepared = 0, 0
    for place, row in enumerate(order.tolist()):
        advance(1)
        if leader[row] >= 0:
            continue
        if search is not None and place >= prepared:
            prepared = _prepare(order, place, leader, candidates, search)
        leader[row] = row
        if search is not None:
            unseen += _gather(row, leader, candidates, verify, search)
            continue
        others = candidates(row)
        free = others[leader[others] < 0]
        if len(free):
            leader[free[verify(row, free)]] = row
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return Grouping(leader, unseen)


def _gather(
    row: int,
    leader: Indices,
    candidates: Callable[[int], Indices],
    verify: Callable[[int, Indices], npt.NDArray[np.bool_]],
    search: Search,
) -> int:
    """Find the members of one leader; the number of candidates that it was not compared with."""
    sources, opened, tried, failures, unseen = [row], set[int](), {row}, 0, 0
    for source in sources:  # which grows
        kind = int(search.kinds[source])
        if kind in opened:
            continue
        opened.add(kind)
        others = candidates(source)
        free = others[leader[others] < 0].tolist()
        fresh = [other for other in free if other not in tried]
        tried.update(fresh)
        start, size = 0, _FIRST
        while start < len(fresh) and failures < search.patience:
            some = np.array(fresh[start : start + size], np.int64)
            good = verify(row, some)
            leader[some[good]] = row
            sources += some[good].tolist()
            failures += int((~good).sum())
            start += size
            size = 2 * size if good.all() else _FIRST
        unseen += max(0, len(fresh) - start)
    return unseen


def _prepare(order: Indices, place: int, leader: Indices, candidates: Callable[[int], Indices], search: Search) -> int:
    """Name the first pairs of the next leaders; the place up to which leaders were looked for."""
    pairs: list[tuple[int, int]] = []
    touched: set[int] = set()
    leaders = 0
    while place < len(order) and leaders < _LEADERS_AHEAD:
        row = int(order[place])
        place += 1
        if leader[row] >= 0 or row in touched:
            continue
        others = candidates(row)
        some = others[leader[others] < 0].tolist()
        if touched.isdisjoint(some):  # else it is most likely a member of a leader before it
            pairs += [(row, other) for other in some[:_FIRST]]
        touched.update(some, [row])
        leaders += 1
    search.prepare(pairs)
    return place


def smallest_cosine(vectors: Vectors) -> float:
    """Return the smallest dot product between any two of (n, dim) unit rows; 1.0 for fewer than two. Block by block.

    Of more than 32,768 rows, 4,096 spread evenly are held against all: every pair would take hours at a million.
    """
    smallest = 1.0
    step = max(1, len(vectors) // _ROWS_AT_ONCE) if len(vectors) > _ALL_PAIRS else 1
    some = vectors[::step]
    for row in range(0, len(some), _ROWS_AT_ONCE):
        left = some[row : row + _ROWS_AT_ONCE]
        for column in range(row if step == 1 else 0, len(vectors), _ROWS_AT_ONCE):
            smallest = min(smallest, float((left @ vectors[column : column + _ROWS_AT_ONCE].T).min()))
    return smallest
