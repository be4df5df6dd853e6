"""Groups without chains: a member was verified against the file that is kept, not against another member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.dedupe.join_rows import Indices

_COMPARISONS_A_ROW: Final = 8
_COMPARISONS_AT_LEAST: Final = 100_000
_ROWS_AT_ONCE: Final = 4096
_ALL_PAIRS: Final = 32_768


@dataclass(frozen=True)
class Grouping:
    """Who leads whom."""

    leader: Indices
    """(n,) the row that each row was verified against; its own number for those that lead or stand alone."""
    unseen: int
    """Candidates that were not looked at because there were too many; 0 in any ordinary run."""


def group(
    order: Indices,
    rows: int,
    candidates: Callable[[int], Indices],
    verify: Callable[[int, Indices], npt.NDArray[np.bool_]],
    *,
    advance: Callable[[int], object] = lambda _n: None,
) -> Grouping:
    """Let the best row gather all that match it, then the best of the rest, and so on.

    The result depends on `order` alone: a row joins the best leader that it matches, in whatever order rows came in.

    Args:
        order: Rows that have candidates, best first.
        rows: How many rows there are in all.
        candidates: Row → rows that may match it. Symmetric.
        verify: Row, some candidates → which of them do match. Symmetric.
        advance: Told how many rows of `order` are done, for a progress bar.
    """
    leader = np.full(rows, -1, np.int64)
    budget = max(_COMPARISONS_AT_LEAST, _COMPARISONS_A_ROW * len(order))
    unseen = 0
    for row in order.tolist():
        advance(1)
        if leader[row] >= 0:
            continue
        leader[row] = row
        found = candidates(row)
        free = found[leader[found] < 0]
        if len(free) > budget:
            unseen += len(free) - budget
            free = free[:budget]
        if not len(free):
            continue
        budget = max(budget - len(free), _COMPARISONS_A_ROW)
        leader[free[verify(row, free)]] = row
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return Grouping(leader, unseen)


def smallest_cosine(vectors: Vectors) -> float:
    """The smallest dot product between any two of (n, dim) unit rows; 1.0 for fewer than two. Block by block.

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
