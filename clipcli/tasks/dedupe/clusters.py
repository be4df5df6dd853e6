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
_LEADERS_AHEAD: Final = 256
"""Rows of `order` that are searched before the first of them is grouped, so that more pairs are compared together."""
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
    prepare: Callable[[list[tuple[int, int]]], object] | None = None
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
    gatherer = None if search is None else _Gatherer(leader, candidates, verify, search)
    not_compared, prepared = 0, 0
    for position, row in enumerate(order.tolist()):
        advance(1)
        if leader[row] >= 0:
            continue
        if gatherer is None:
            leader[row] = row
            others = candidates(row)
            free = others[leader[others] < 0]
            leader[free[verify(row, free)] if len(free) else free] = row
            continue
        if position >= prepared:
            prepared = gatherer.look_ahead(order, position)
        not_compared += gatherer.gather(row)
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return Grouping(leader, not_compared)


@dataclass(frozen=True)
class _Gatherer:
    """Lets leaders gather their members."""

    leader: Indices
    """(rows,) -1 for those that are free; filled in."""
    candidates: Callable[[int], Indices]
    verify: Callable[[int, Indices], npt.NDArray[np.bool_]]
    search: Search

    def free(self, row: int) -> list[int]:
        """Return the candidates of a row that no leader has."""
        others = self.candidates(row)
        free: list[int] = others[self.leader[others] < 0].tolist()
        return free

    def gather(self, row: int) -> int:
        """Set `leader` for the members of one leader; return how many candidates were skipped."""
        gathering = _Gathering(row, self)
        while len(gathering.due):
            gathering.take(self.verify(row, gathering.due))
        return gathering.not_compared

    def look_ahead(self, order: Indices, position: int) -> int:
        """Try out what the next leaders will gather, to compare their pairs together; `leader` stays as it is.

        Returns:
            The position in `order` that this reached.
        """
        if self.search.prepare is None:
            return len(order)
        stop = min(position + _LEADERS_AHEAD, len(order))
        pending = [row for row in order[position:stop].tolist() if self.leader[row] < 0]
        tried: list[_Gathering] = []
        while pending:
            touched, ahead, later = set[int](), list[_Gathering](), list[int]()
            for row in pending:
                free = self.free(row)
                if touched.isdisjoint([row, *free]):
                    ahead.append(_Gathering(row, self))
                else:
                    later.append(row)  # most likely a member of a leader before it
                touched.update(free, [row])
            self._gather_together(ahead)
            tried += ahead
            pending = [row for row in later if self.leader[row] < 0]
        for one in tried:
            self.leader[one.members] = -1
        return stop

    def _gather_together(self, leaders: list[_Gathering]) -> None:
        """Let several gather, step by step, so that the pairs of each step are compared together."""
        while going := [one for one in leaders if len(one.due)]:
            if self.search.prepare is not None:
                self.search.prepare([(one.row, other) for one in going for other in one.due.tolist()])
            for one in going:
                one.take(self.verify(one.row, one.due))


class _Gathering:
    """One leader on its way through its candidates."""

    def __init__(self, row: int, gatherer: _Gatherer) -> None:
        self.row = row
        self.members = [row]
        """The leader first; their candidates are its candidates too, of each kind once."""
        self.not_compared = 0
        self._gatherer = gatherer
        self._opened, self._tried = set[int](), {row}
        self._failures, self._source, self._size = 0, 0, _FIRST
        self._fresh: list[int] = []
        gatherer.leader[row] = row
        self.due = self._next()

    def take(self, good: npt.NDArray[np.bool_]) -> None:
        """Take those of `due` that match."""
        self._gatherer.leader[self.due[good]] = self.row
        self.members += self.due[good].tolist()
        self._failures += int((~good).sum())
        self._size = 2 * self._size if good.all() else _FIRST
        self.due = self._next()

    def _next(self) -> Indices:
        """Return the candidates to be verified next; none where all are done, or too many failed."""
        while not self._fresh or self._failures >= self._gatherer.search.patience:
            self.not_compared += len(self._fresh)
            if self._source == len(self.members):
                return np.zeros(0, np.int64)
            self._open(self.members[self._source])
            self._source += 1
        batch, self._fresh = self._fresh[: self._size], self._fresh[self._size :]
        return np.array(batch, np.int64)

    def _open(self, source: int) -> None:
        self._fresh, self._size = [], _FIRST
        kind = int(self._gatherer.search.kinds[source])
        if kind not in self._opened:
            self._opened.add(kind)
            self._fresh = [other for other in self._gatherer.free(source) if other not in self._tried]
            self._tried.update(self._fresh)


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
