"""Approximate joins with an inverted file, for sets too large for an exact join; the recall is measured.

Rows are clustered into cells, and each row is compared with those of its nearest cells only (the probes). The true
pairs of a sample are found by brute force: half of the sample sets the number of probes, the other half measures the
recall.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.core.vectors import unit_length
from clipcli.tasks.dedupe.join import join_sets
from clipcli.tasks.dedupe.pairs import DEFAULT_LIMIT, PairBuffer, VectorSource
from clipcli.tasks.k_means import k_means

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.dedupe.pairs import Indices, Pairs, RowSource

_SAMPLE_PER_CELL: Final = 32
_ITERATIONS: Final = 4
_ASSIGNED_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class Cells:
    """The k cells of n rows, an inverted file."""

    centres: Vectors
    """(k, dim) of unit length."""
    cell: Indices
    """(n,) the cell of each row."""
    nearest: npt.NDArray[np.int32]
    """(n, kept) the cells nearest to each row, the nearest first."""
    _order: Indices = field(init=False)
    _starts: Indices = field(init=False)

    def __post_init__(self) -> None:
        order = np.argsort(self.cell, kind="stable")
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_starts", np.searchsorted(self.cell[order], np.arange(len(self.centres) + 1)))

    def __len__(self) -> int:
        return len(self.centres)

    def members(self, cell: int) -> Indices:
        """Return the rows of a cell, ascending."""
        return self._order[self._starts[cell] : self._starts[cell + 1]]

    @classmethod
    def of(cls, source: RowSource, count: int, keep: int, advance: Callable[[int], object]) -> Cells:
        """Cluster rows into at most `count` cells, and store the `keep` nearest cells of each row."""
        centres = _centres(source, count)
        nearest = np.empty((len(source), min(keep, len(centres))), np.int32)
        for start in range(0, len(source), _ASSIGNED_AT_ONCE):
            block = source.block(start, min(start + _ASSIGNED_AT_ONCE, len(source)))
            nearest[start : start + len(block)] = best_columns(block @ centres.T, nearest.shape[1])
            advance(len(block))
        return cls(centres, nearest[:, 0].astype(np.int64), nearest)


def best_columns(values: Vectors, count: int) -> npt.NDArray[np.int32]:
    """Return (rows, count) int32: the columns of the largest values of each row, the largest first."""
    if count == 1:
        return np.asarray(values.argmax(axis=1)[:, None], np.int32)
    top = np.argpartition(values, values.shape[1] - count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(values, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1).astype(np.int32)


def _centres(source: RowSource, count: int) -> Vectors:
    """Return the k-means centres of a sample spread evenly over all rows."""
    total = len(source)
    sample = source.take(np.linspace(0, total - 1, min(total, _SAMPLE_PER_CELL * count)).astype(np.int64))
    return k_means(sample, count, _ITERATIONS, unit_length=True)


_SAMPLE_ROWS: Final = 2048
_FEW_TRUE_PAIRS: Final = 400
"""With fewer true pairs in the sample, synthetic pairs are measured too."""
_TARGET_RECALL: Final = 0.995
_TARGET_SYNTHETIC_RECALL: Final = 0.99
"""Lower, since synthetic pairs are the hardest: their cosine is the threshold."""
_MIN_PROBESROBES, _MAX_PROBES = 4, 128
"""Limits of the number of cells that each row is compared with."""
_SAMPLE_ROWS_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class Recall:
    """The recall measured against brute force on a sample of the rows."""

    rows: int
    true_pairs: int
    found_pairs: int
    probes: int
    """Number of cells that each row is compared with."""
    cells: int
    synthetic_pairs: int = 0
    """Measured if true pairs are few: rows paired with copies moved away until the cosine is the threshold."""
    synthetic_found: int = 0

    @property
    def share(self) -> float:
        """Return the recall on true pairs, 0 to 1; 1 if there are none."""
        return self.found_pairs / self.true_pairs if self.true_pairs else 1.0

    def __str__(self) -> str:
        """Return the figures as text for messages."""
        text = f"{self.share:.1%} of {self.true_pairs:,} pairs found in a sample of {self.rows:,}"
        if self.synthetic_pairs:
            share = self.synthetic_found / self.synthetic_pairs
            text += f", and {share:.1%} of {self.synthetic_pairs:,} synthetic pairs at the threshold"
        return text


def sample_of(total: int) -> Indices:
    """Return the numbers of at most 2048 rows, spread evenly over all."""
    return np.unique(np.linspace(0, total - 1, min(total, _SAMPLE_ROWS)).astype(np.int64))


def tune(cells: Cells, source: RowSource, threshold: float, sample: Vectors, own_rows: Indices | None) -> Recall:
    """Set the number of probes on the first half of the sample, and measure the recall on the second."""
    true_pairs = join_sets(VectorSource(sample), source, threshold)
    first, second = true_pairs.first, true_pairs.second
    if own_rows is not None:
        others = own_rows[first] != second
        first, second = first[others], second[others]
    ranks = _ranks(cells, sample[first], cells.cell[second])
    if own_rows is not None:
        ranks = np.minimum(ranks, _ranks_of(cells, source, second, cells.cell[own_rows[first]]))
    is_tuning = first % 2 == 0
    synthetic = synthetic_tuning = np.zeros(0, np.int64)
    if len(first) < _FEW_TRUE_PAIRS:
        synthetic = _synthetic_ranks(cells, source, threshold, both_sides=own_rows is not None)
        synthetic, synthetic_tuning = synthetic[1::2], synthetic[::2]
    needed = max(
        _cells_for_recall(ranks[is_tuning], _TARGET_RECALL),
        _cells_for_recall(synthetic_tuning, _TARGET_SYNTHETIC_RECALL),
    )
    probes = min(len(cells), max(_MIN_PROBESROBES, min(needed, _MAX_PROBES)))
    rows, is_measured = len(sample) // 2, ~is_tuning
    return Recall(rows, int(is_measured.sum()), int((ranks[is_measured] < probes).sum()), probes, len(cells),
                  len(synthetic), int((synthetic < probes).sum()))  # fmt: skip


def _cells_for_recall(ranks: Indices, share: float) -> int:
    """Return the number of probes that reach this share of the target cells; 0 without targets."""
    return int(np.quantile(ranks, share, method="higher")) + 1 if len(ranks) else 0


def _synthetic_ranks(cells: Cells, source: RowSource, threshold: float, *, both_sides: bool) -> Indices:
    """Return the ranks of the cells of synthetic pairs.

    A synthetic pair is a row and a copy of it, moved towards another row until their cosine is the threshold.
    """
    rows = sample_of(len(source))
    vectors = source.take(rows)
    directions = np.roll(vectors, len(vectors) // 3, axis=0)
    directions = directions - np.einsum("ij,ij->i", directions, vectors)[:, None] * vectors
    keep = np.linalg.norm(directions, axis=1) > 1e-3  # noqa: PLR2004 - equal vectors have no direction
    rows, vectors, directions = rows[keep], vectors[keep], unit_length(directions[keep])
    queries = np.asarray(threshold * vectors + max(0.0, 1 - threshold**2) ** 0.5 * directions, np.float32)
    ranks = _ranks(cells, queries, cells.cell[rows])
    if both_sides and len(queries):
        ranks = np.minimum(ranks, _ranks(cells, vectors, (queries @ cells.centres.T).argmax(axis=1)))
    return ranks


def _ranks_of(cells: Cells, source: RowSource, rows: Indices, target_cells: Indices) -> Indices:
    pieces = [
        _ranks(
            cells,
            source.take(rows[start : start + _SAMPLE_ROWS_AT_ONCE]),
            target_cells[start : start + _SAMPLE_ROWS_AT_ONCE],
        )
        for start in range(0, len(rows), _SAMPLE_ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def _ranks(cells: Cells, vectors: Vectors, target_cells: Indices) -> Indices:
    """Return (n,) the number of cells nearer to each vector than its target cell."""
    ranks = np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _SAMPLE_ROWS_AT_ONCE):
        values = vectors[start : start + _SAMPLE_ROWS_AT_ONCE] @ cells.centres.T
        value = np.take_along_axis(values, target_cells[start : start + _SAMPLE_ROWS_AT_ONCE, None], axis=1)
        ranks[start : start + len(values)] = (values > value).sum(axis=1)
    return ranks


EXACT_PRODUCTS: Final = 250_000**2 // 2
"""Most dot products of an exact join: three minutes on two cores for vectors of 512 numbers."""

_CELL_ROWS: Final = 256
"""Smallest mean number of rows per cell: smaller products run at half the speed."""
_NEAREST_CELLS: Final = 16
"""Nearest cells stored per row of a self-join, 64 bytes."""
_ROWS_AT_ONCE: Final = 262_144
"""Queries per pass over the cells: the more, the larger the products."""
_ROWS, _COLUMNS = 1024, 4096


def exact_is_quick(products: int) -> bool:
    """Return whether an exact join of this many dot products is fast enough."""
    return products <= EXACT_PRODUCTS


@dataclass(frozen=True)
class IvfFinder:
    """Finds the pairs of queries with the rows of a set, by an inverted file over the set."""

    source: RowSource
    threshold: float
    cells: Cells
    probes: int
    recall: Recall

    @classmethod
    def of(
        cls,
        source: RowSource,
        threshold: float,
        sample: Vectors,
        query_count: int,
        *,
        own: Indices | None = None,
        advance: Callable[[int], object] = lambda _n: None,
    ) -> IvfFinder:
        """Cluster a set, and set the number of probes by a sample of the queries.

        Args:
            source: the rows of the set.
            threshold: smallest cosine of a pair.
            sample: (s, dim) some of the queries.
            query_count: the number of queries.
            own: (s,) the row numbers of the sample in a self-join, else None.
            advance: called with the number of rows assigned to cells.
        """
        count = max(1, min(int(2 * len(source) ** 0.5), query_count // 8, len(source) // _CELL_ROWS))
        cells = Cells.of(source, count, 1 if own is None else _NEAREST_CELLS, advance)
        recall = tune(cells, source, threshold, sample, own)
        return cls(source, threshold, cells, recall.probes, recall)

    def find(
        self,
        queries: RowSource,
        pairs: PairBuffer,
        *,
        is_self_join: bool = False,
        advance: Callable[[int], object] = lambda _n: None,
    ) -> None:
        """Add pairs (query, row of the set) to a buffer; `is_self_join` if the queries are the set."""
        for start in range(0, len(queries), _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, len(queries))
            probed = self._probed_cells(queries, start, stop, is_self_join=is_self_join)
            order = np.argsort(probed, axis=None, kind="stable")
            rows = order // self.probes + start
            bounds = np.searchsorted(probed.ravel()[order], np.arange(len(self.cells) + 1))
            reported = 0
            for cell in range(len(self.cells)):
                query_rows = rows[bounds[cell] : bounds[cell + 1]]
                self._compare(queries, query_rows, self.cells.members(cell), pairs)
                progress = (stop - start) * (cell + 1) // len(self.cells)
                advance(progress - reported)
                reported = progress

    def _probed_cells(self, queries: RowSource, start: int, stop: int, *, is_self_join: bool) -> npt.NDArray[np.int32]:
        """Return (stop - start, probes) int32: the cells to compare each query with."""
        if is_self_join and self.probes <= self.cells.nearest.shape[1]:
            return self.cells.nearest[start:stop, : self.probes]
        probed = np.empty((stop - start, self.probes), np.int32)
        for row in range(0, stop - start, _COLUMNS):
            block = queries.block(start + row, min(start + row + _COLUMNS, stop))
            probed[row : row + len(block)] = best_columns(block @ self.cells.centres.T, self.probes)
        return probed

    def _compare(self, queries: RowSource, query_rows: Indices, members: Indices, pairs: PairBuffer) -> None:
        for column in range(0, len(members), _COLUMNS):
            set_rows = members[column : column + _COLUMNS]
            columns = self.source.take(set_rows).T
            for row in range(0, len(query_rows), _ROWS):
                rows = query_rows[row : row + _ROWS]
                pairs.add_product(queries.take(rows) @ columns, self.threshold, rows, set_rows)


def join_self_approximately(
    source: RowSource, threshold: float, *, advance: Callable[[int], object] = lambda _n: None
) -> tuple[Pairs, Recall]:
    """Return nearly all pairs `first < second` with a dot product of at least `threshold`, and the recall.

    Memory: the source, 64 bytes per row, and the pairs. `advance` counts each row twice.
    """
    rows = sample_of(len(source))
    finder = IvfFinder.of(source, threshold, source.take(rows), len(source), own=rows, advance=advance)
    pairs = PairBuffer(len(source), selfjoin=True)
    finder.find(source, pairs, is_self_join=True, advance=advance)
    return pairs.finish(), finder.recall


def join_sets_approximately(
    queries: RowSource,
    references: RowSource,
    threshold: float,
    *,
    limit: int = DEFAULT_LIMIT,
    advance: Callable[[int], object] = lambda _n: None,
) -> tuple[Pairs, Recall]:
    """Return nearly all pairs of a query (first) and a reference (second), and the recall.

    `advance` counts each reference, then each query.
    """
    sample = queries.take(sample_of(len(queries)))
    finder = IvfFinder.of(references, threshold, sample, len(queries), advance=advance)
    pairs = PairBuffer(len(queries), selfjoin=False, limit=limit)
    finder.find(queries, pairs, advance=advance)
    return pairs.finish(), finder.recall
