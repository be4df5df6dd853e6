"""Pairs by way of cells, for more rows than an exact join is worth; the recall is measured, not promised.

Each row is compared with the rows of the few cells nearest to it, by the same blocked products as in an exact join.
On a sample the true pairs are found by brute force, and as many cells are opened as it takes to meet nearly all of
them. Half of the sample chooses that number, the other half measures what is found with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.tasks.dedupe.cells import Cells, best_columns
from clipcli.tasks.dedupe.pairs import DEFAULT_LIMIT, PairBuffer
from clipcli.tasks.dedupe.recall import Recall, sample_of, tune

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from clipcli.tasks.dedupe.pairs import Pairs
    from clipcli.tasks.dedupe.sources import Indices, Source
    from clipcli.vectors import Vectors

EXACT_PRODUCTS: Final = 250_000**2 // 2
"""Products of rows up to which the exact join is used: three minutes on two cores at 512 numbers a row."""

_CELL_ROWS: Final = 256
"""Rows of a cell on average, at least: smaller products run at half the speed."""
_KEPT: Final = 16
"""Nearest cells that are remembered of each row, 64 bytes."""
_ROWS_AT_ONCE: Final = 262_144
"""Rows that ask the cells together: the more, the larger the products."""
_ROWS, _COLUMNS = 1024, 4096


def exact_is_quick(products: int) -> bool:
    """Whether so many products of rows are worth an exact join."""
    return products <= EXACT_PRODUCTS


@dataclass(frozen=True)
class Finder:
    """Finds partners of any rows in a set that is parted into cells."""

    source: Source
    threshold: float
    cells: Cells
    probes: int
    recall: Recall

    @classmethod
    def of(
        cls,
        source: Source,
        threshold: float,
        sample: Vectors,
        askers: int,
        *,
        own: Indices | None = None,
        advance: Callable[[int], object] = lambda _n: None,
    ) -> Finder:
        """Part a set, and open as many cells as a sample of the rows that will ask needs.

        Args:
            source: The set.
            threshold: Smallest cosine.
            sample: (s, dim) rows that will ask.
            askers: How many will.
            own: (s,) their numbers, where the set is joined with itself.
            advance: Told how many rows of the set are in their cells.
        """
        count = max(1, min(int(2 * len(source) ** 0.5), askers // 8, len(source) // _CELL_ROWS))
        cells = Cells.of(source, count, 1 if own is None else _KEPT, advance)
        recall = tune(cells, source, threshold, sample, own)
        return cls(source, threshold, cells, recall.probes, recall)

    def find(
        self,
        queries: Source,
        pairs: PairBuffer,
        *,
        itself: bool = False,
        advance: Callable[[int], object] = lambda _n: None,
    ) -> None:
        """Put pairs (query, row of the set) into a buffer; `itself` where the queries are the set."""
        for start in range(0, len(queries), _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, len(queries))
            asked = self._asked(queries, start, stop, itself=itself)
            order = np.argsort(asked, axis=None, kind="stable")
            rows = order // self.probes + start
            bounds = np.searchsorted(asked.ravel()[order], np.arange(len(self.cells) + 1))
            done = 0
            for cell in range(len(self.cells)):
                asking = rows[bounds[cell] : bounds[cell + 1]]
                self._compare(queries, asking, self.cells.members(cell), pairs)
                due = (stop - start) * (cell + 1) // len(self.cells)
                advance(due - done)
                done = due

    def _asked(self, queries: Source, start: int, stop: int, *, itself: bool) -> npt.NDArray[np.int32]:
        """(stop - start, probes) cells that each query looks into."""
        if itself and self.probes <= self.cells.nearest.shape[1]:
            return self.cells.nearest[start:stop, : self.probes]
        asked = np.empty((stop - start, self.probes), np.int32)
        for row in range(0, stop - start, _COLUMNS):
            block = queries.block(start + row, min(start + row + _COLUMNS, stop))
            asked[row : row + len(block)] = best_columns(block @ self.cells.centres.T, self.probes)
        return asked

    def _compare(self, queries: Source, asking: Indices, members: Indices, pairs: PairBuffer) -> None:
        for column in range(0, len(members), _COLUMNS):
            some = members[column : column + _COLUMNS]
            right = self.source.take(some).T
            for row in range(0, len(asking), _ROWS):
                rows = asking[row : row + _ROWS]
                pairs.add_product(queries.take(rows) @ right, self.threshold, rows, some)


def join_self_approximately(
    source: Source, threshold: float, *, advance: Callable[[int], object] = lambda _n: None
) -> tuple[Pairs, Recall]:
    """Nearly all pairs `first < second` with a dot product of at least `threshold`, and the measured share.

    Memory: the source, 64 bytes a row, and the pairs. `advance` is told each row twice.
    """
    rows = sample_of(len(source))
    finder = Finder.of(source, threshold, source.take(rows), len(source), own=rows, advance=advance)
    pairs = PairBuffer(len(source), selfjoin=True)
    finder.find(source, pairs, itself=True, advance=advance)
    return pairs.finish(), finder.recall


def join_sets_approximately(
    queries: Source,
    references: Source,
    threshold: float,
    *,
    limit: int = DEFAULT_LIMIT,
    advance: Callable[[int], object] = lambda _n: None,
) -> tuple[Pairs, Recall]:
    """Nearly all pairs of a query (first) and a reference (second), and the measured share.

    `advance` is told each reference, then each query.
    """
    sample = queries.take(sample_of(len(queries)))
    finder = Finder.of(references, threshold, sample, len(queries), advance=advance)
    pairs = PairBuffer(len(queries), selfjoin=False, limit=limit)
    finder.find(queries, pairs, advance=advance)
    return pairs.finish(), finder.recall
