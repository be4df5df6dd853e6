"""Groups without chains: each member was verified against its leader, not only against another member."""

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
"""Candidates of a leader in the first batch; the batches double while all of them match."""
_LEADERS_AHEAD: Final = 48
_ROWS_AT_ONCE: Final = 4096
_ALL_PAIRS: Final = 32_768


@dataclass(frozen=True)
class Grouping:
    """The leader of each row."""

    leader: Indices
    """(n,) row → the row that it was verified against; leaders and single rows are their own leaders."""
    not_compared: int
    """Candidates that were skipped because too many before them did not match."""


@dataclass(frozen=True)
class Search:
    """How `group` searches for the members of a leader.

    Candidates of members become candidates of the leader too: the thumbnail of a bordered picture may be closer to the
    picture without a border than to the leader.
    """

    patience: int
    """Candidates of one leader that may fail to match; after that the rest are skipped and counted."""
    kinds: Indices
    """(rows,) rows of one kind have equal candidates, so the candidates of one of them are enough."""
    prepare: Callable[[list[tuple[int, int]]], object] = lambda _pairs: None
    """Called with pairs that will be verified soon, so that they can be compared in one batch."""


def group(
    order: Indices,
    rows: int,
    candidates: Callable[[int], Indices],
    verify: Callable[[int, Indices], npt.NDArray[np.bool_]],
    search: Search | None = None,
    *,
    advance: Callable[[int], object] = lambda _n: None,
) -> Grouping:
    """Group rows greedily: the first row leads all that match it, then the first of the remaining rows, and so on.

    A row joins the first leader in `order` that it matches, so the result does not depend on the order of inputs.

    Args:
        order: Rows that have candidates, the best to keep first.
        rows: Number of all rows.
        candidates: Row → rows that may match it, the closest first. Symmetric.
        verify: Row and (k,) candidates → (k,) bool, which of them match. Symmetric.
        search: Limits of the search; None to verify all candidates of leaders, and of leaders only.
        advance: Called with the number of rows of `order` just finished, for a progress bar.
    """
    leader = np.full(rows, -1, np.int64)
    not_compared, prepared = 0, 0
    for position, row in enumerate(order.tolist()):
        advance(1)
        if leader[row] >= 0:
            continue
        if search is not None and position >= prepared:
            prepared = _prepare(order, position, leader, candidates, search)
        leader[row] = row
        if search is not None:
            not_compared += _gather(row, leader, candidates, verify, search)
            continue
        others = candidates(row)
        free = others[leader[others] < 0]
        if len(free):
            leader[free[verify(row, free)]] = row
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return Grouping(leader, not_compared)


def _gather(
    row: int,
    leader: Indices,
    candidates: Callable[[int], Indices],
    verify: Callable[[int, Indices], npt.NDArray[np.bool_]],
    search: Search,
) -> int:
    """Set `leader` for the members of one leader; return how many candidates were skipped."""
    sources, opened, tried, failures, not_compared = [row], set[int](), {row}, 0, 0
    for source in sources:  # grows while members are added
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
            batch = np.array(fresh[start : start + size], np.int64)
            matches = verify(row, batch)
            leader[batch[matches]] = row
            sources += batch[matches].tolist()
            failures += int((~matches).sum())
            start += size
            size = 2 * size if matches.all() else _FIRST
        not_compared += max(0, len(fresh) - start)
    return not_compared


def _prepare(
    order: Indices, position: int, leader: Indices, candidates: Callable[[int], Indices], search: Search
) -> int:
    """Announce the first pairs of the next leaders; return the position in `order` that this reached."""
    pairs: list[tuple[int, int]] = []
    touched: set[int] = set()
    leaders = 0
    while position < len(order) and leaders < _LEADERS_AHEAD:
        row = int(order[position])
        position += 1
        if leader[row] >= 0 or row in touched:
            continue
        others = candidates(row)
        free = others[leader[others] < 0].tolist()
        if touched.isdisjoint(free):  # otherwise this row will most likely join an earlier leader
            pairs += [(row, other) for other in free[:_FIRST]]
        touched.update(free, [row])
        leaders += 1
    search.prepare(pairs)
    return position


def smallest_cosine(vectors: Vectors) -> float:
    """Return the smallest dot product of any two of (n, dim) unit rows; 1.0 for fewer than two rows.

    With more than 32,768 rows, only about 4,096 evenly spaced rows are compared with all: all pairs of a million rows
    would take hours.
    """
    smallest = 1.0
    step = max(1, len(vectors) // _ROWS_AT_ONCE) if len(vectors) > _ALL_PAIRS else 1
    sampled = vectors[::step]
    for row in range(0, len(sampled), _ROWS_AT_ONCE):
        left = sampled[row : row + _ROWS_AT_ONCE]
        for column in range(row if step == 1 else 0, len(vectors), _ROWS_AT_ONCE):
            smallest = min(smallest, float((left @ vectors[column : column + _ROWS_AT_ONCE].T).min()))
    return smallest
