"""Pairs by way of cells, for more rows than an exact join is worth; the recall is measured, not promised.

Each row is compared with the rows of the few cells nearest to it, by the same blocked products as in an exact join.
On a sample the true pairs are found by brute force, and as many cells are opened as it takes to meet nearly all of
them. Half of the sample chooses that number, the other half measures what is found with it.
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

_SAMPLE_A_CELL: Final = 32
_ROUNDS: Final = 4
_ASSIGNED_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class Cells:
    """k cells of n rows."""

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
        """Rows of a cell, ascending."""
        return self._order[self._starts[cell] : self._starts[cell + 1]]

    @classmethod
    def of(cls, source: RowSource, count: int, keep: int, advance: Callable[[int], object]) -> Cells:
        """Part rows into at most `count` cells and note the `keep` nearest cells of each."""
        centres = _centres(source, count)
        nearest = np.empty((len(source), min(keep, len(centres))), np.int32)
        for start in range(0, len(source), _ASSIGNED_AT_ONCE):
            block = source.block(start, min(start + _ASSIGNED_AT_ONCE, len(source)))
            nearest[start : start + len(block)] = best_columns(block @ centres.T, nearest.shape[1])
            advance(len(block))
        return cls(centres, nearest[:, 0].astype(np.int64), nearest)


def best_columns(values: Vectors, count: int) -> npt.NDArray[np.int32]:
    """(rows, count) the columns with the largest values of each row, the largest first."""
    if count == 1:
        return np.asarray(values.argmax(axis=1)[:, None], np.int32)
    some = np.argpartition(values, values.shape[1] - count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1).astype(np.int32)


def _centres(source: RowSource, count: int) -> Vectors:
    """Return the centres of a sample that is spread over all rows."""
    total = len(source)
    sample = source.take(np.linspace(0, total - 1, min(total, _SAMPLE_A_CELL * count)).astype(np.int64))
    return k_means(sample, count, _ROUNDS, unit_length=True)


_SAMPLE_ROWS: Final = 2048
_FEW: Final = 400
"""True pairs in the sample below which made ones are measured as well."""
_ENOUGH: Final = 0.995
_ENOUGH_MADE: Final = 0.99
"""The made ones are the hardest there can be: at the threshold itself."""
_LEAST, _MOST = 4, 128
"""Cells that a row looks into."""
_SAMPLE_ROWS_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class Recall:
    """What a brute-force look at some rows found, and how much of it the cells that are opened hold."""

    rows: int
    true_pairs: int
    found_pairs: int
    probes: int
    """Cells that each row looks into."""
    cells: int
    made_pairs: int = 0
    """Where true pairs are few: rows moved until they have just the threshold's cosine with themselves."""
    made_found: int = 0

    @property
    def share(self) -> float:
        """Found of true; 1 when there was nothing to find."""
        return self.found_pairs / self.true_pairs if self.true_pairs else 1.0

    def __str__(self) -> str:
        """For the user."""
        text = f"{self.share:.1%} of {self.true_pairs:,} pairs found in a sample of {self.rows:,}"
        if self.made_pairs:
            text += f", and {self.made_found / self.made_pairs:.1%} of {self.made_pairs:,} made at the threshold"
        return text


def sample_of(total: int) -> Indices:
    """Numbers of rows spread evenly over all."""
    return np.unique(np.linspace(0, total - 1, min(total, _SAMPLE_ROWS)).astype(np.int64))


def tune(cells: Cells, source: RowSource, threshold: float, sample: Vectors, own: Indices | None) -> Recall:
    """Open cells until the first half of the sample's pairs are found; measure on the second."""
    true = join_sets(VectorSource(sample), source, threshold)
    first, second = true.first, true.second
    if own is not None:
        others = own[first] != second
        first, second = first[others], second[others]
    ranks = _ranks(cells, sample[first], cells.cell[second])
    if own is not None:
        ranks = np.minimum(ranks, _ranks_of(cells, source, second, cells.cell[own[first]]))
    choosing = first % 2 == 0
    made = made_choosing = np.zeros(0, np.int64)
    if len(first) < _FEW:
        made = _made_ranks(cells, source, threshold, both=own is not None)
        made, made_choosing = made[1::2], made[::2]
    enough = max(_needed(ranks[choosing], _ENOUGH), _needed(made_choosing, _ENOUGH_MADE))
    probes = min(len(cells), max(_LEAST, min(enough, _MOST)))
    rows, held = len(sample) // 2, ~choosing
    return Recall(rows, int(held.sum()), int((ranks[held] < probes).sum()), probes, len(cells),
                  len(made), int((made < probes).sum()))  # fmt: skip


def _needed(ranks: Indices, share: float) -> int:
    """Cells to open so that this share of wanted cells is among them; 0 where nothing is wanted."""
    return int(np.quantile(ranks, share, method="higher")) + 1 if len(ranks) else 0


def _made_ranks(cells: Cells, source: RowSource, threshold: float, *, both: bool) -> Indices:
    """Rows of the set, each moved towards another one until its cosine with itself is the threshold."""
    rows = sample_of(len(source))
    here = source.take(rows)
    away = np.roll(here, len(here) // 3, axis=0)
    away = away - np.einsum("ij,ij->i", away, here)[:, None] * here
    keep = np.linalg.norm(away, axis=1) > 1e-3  # noqa: PLR2004 - the same vector leads nowhere
    rows, here, away = rows[keep], here[keep], unit_length(away[keep])
    moved = np.asarray(threshold * here + max(0.0, 1 - threshold**2) ** 0.5 * away, np.float32)
    ranks = _ranks(cells, moved, cells.cell[rows])
    if both and len(moved):
        ranks = np.minimum(ranks, _ranks(cells, here, (moved @ cells.centres.T).argmax(axis=1)))
    return ranks


def _ranks_of(cells: Cells, source: RowSource, rows: Indices, wanted: Indices) -> Indices:
    pieces = [
        _ranks(
            cells, source.take(rows[start : start + _SAMPLE_ROWS_AT_ONCE]), wanted[start : start + _SAMPLE_ROWS_AT_ONCE]
        )
        for start in range(0, len(rows), _SAMPLE_ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def _ranks(cells: Cells, vectors: Vectors, wanted: Indices) -> Indices:
    """(n,) how many cells are nearer to each vector than the one that is wanted of it."""
    ranks = np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _SAMPLE_ROWS_AT_ONCE):
        values = vectors[start : start + _SAMPLE_ROWS_AT_ONCE] @ cells.centres.T
        value = np.take_along_axis(values, wanted[start : start + _SAMPLE_ROWS_AT_ONCE, None], axis=1)
        ranks[start : start + len(values)] = (values > value).sum(axis=1)
    return ranks


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
    """Return whether so many products of rows are worth an exact join."""
    return products <= EXACT_PRODUCTS


@dataclass(frozen=True)
class IvfFinder:
    """Finds partners of any rows in a set that is parted into cells."""

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
        askers: int,
        *,
        own: Indices | None = None,
        advance: Callable[[int], object] = lambda _n: None,
    ) -> IvfFinder:
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
        queries: RowSource,
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

    def _asked(self, queries: RowSource, start: int, stop: int, *, itself: bool) -> npt.NDArray[np.int32]:
        """(stop - start, probes) cells that each query looks into."""
        if itself and self.probes <= self.cells.nearest.shape[1]:
            return self.cells.nearest[start:stop, : self.probes]
        asked = np.empty((stop - start, self.probes), np.int32)
        for row in range(0, stop - start, _COLUMNS):
            block = queries.block(start + row, min(start + row + _COLUMNS, stop))
            asked[row : row + len(block)] = best_columns(block @ self.cells.centres.T, self.probes)
        return asked

    def _compare(self, queries: RowSource, asking: Indices, members: Indices, pairs: PairBuffer) -> None:
        for column in range(0, len(members), _COLUMNS):
            some = members[column : column + _COLUMNS]
            right = self.source.take(some).T
            for row in range(0, len(asking), _ROWS):
                rows = asking[row : row + _ROWS]
                pairs.add_product(queries.take(rows) @ right, self.threshold, rows, some)


def join_self_approximately(
    source: RowSource, threshold: float, *, advance: Callable[[int], object] = lambda _n: None
) -> tuple[Pairs, Recall]:
    """Nearly all pairs `first < second` with a dot product of at least `threshold`, and the measured share.

    Memory: the source, 64 bytes a row, and the pairs. `advance` is told each row twice.
    """
    rows = sample_of(len(source))
    finder = IvfFinder.of(source, threshold, source.take(rows), len(source), own=rows, advance=advance)
    pairs = PairBuffer(len(source), selfjoin=True)
    finder.find(source, pairs, itself=True, advance=advance)
    return pairs.finish(), finder.recall


def join_sets_approximately(
    queries: RowSource,
    references: RowSource,
    threshold: float,
    *,
    limit: int = DEFAULT_LIMIT,
    advance: Callable[[int], object] = lambda _n: None,
) -> tuple[Pairs, Recall]:
    """Nearly all pairs of a query (first) and a reference (second), and the measured share.

    `advance` is told each reference, then each query.
    """
    sample = queries.take(sample_of(len(queries)))
    finder = IvfFinder.of(references, threshold, sample, len(queries), advance=advance)
    pairs = PairBuffer(len(queries), selfjoin=False, limit=limit)
    finder.find(queries, pairs, advance=advance)
    return pairs.finish(), finder.recall
