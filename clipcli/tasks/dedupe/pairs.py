"""The rows of a join, and the pairs that it finds, in bounded memory.

Each row keeps only its best partners; rows whose lists were cut are marked as crowded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from clipcli.core.vectors import Vectors

Indices: TypeAlias = npt.NDArray[np.int64]
"""(n,) int64, numbers of rows."""
Bits: TypeAlias = npt.NDArray[np.uint8]
"""(n, bytes) uint8, eight bits each."""


class RowSource(Protocol):
    """n rows of unit length."""

    @property
    def dim(self) -> int:
        """Numbers in a row."""
        ...

    def __len__(self) -> int:
        """Rows."""
        ...

    def block(self, start: int, stop: int) -> Vectors:
        """Rows start … stop - 1 as (≤ stop - start, dim) float32."""
        ...

    def take(self, rows: Indices) -> Vectors:
        """Some rows, (len(rows), dim) float32."""
        ...


@dataclass(frozen=True)
class VectorSource:
    """Embeddings, all of them or a selection that is gathered as it is needed: a copy would double the memory."""

    vectors: Vectors
    rows: Indices | None = None

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors) if self.rows is None else len(self.rows)

    def block(self, start: int, stop: int) -> Vectors:
        """Return a view where all rows are taken."""
        return self.vectors[start:stop] if self.rows is None else self.vectors[self.rows[start:stop]]

    def take(self, rows: Indices) -> Vectors:
        """Return a copy of some rows."""
        return self.vectors[rows if self.rows is None else self.rows[rows]]


_SCANS: Final = 2000
"""Most scans of all rows in one run: 2,000 scans of 100,000 × 512 take two minutes of one core."""
_ROWS_AT_ONCE: Final = 65_536


@dataclass
class Neighbours:
    """Partners of each row of a set joined with itself, from both sides of each pair."""

    source: RowSource | None
    """The rows, which are scanned again for a crowded row; None if the cut lists are enough."""
    threshold: float
    pairs: Pairs
    scans_left: int = _SCANS
    cut: int = 0
    """Number of crowded rows whose cut list was returned because no scans were left."""
    _starts: Indices = field(init=False)
    _partners: Indices = field(init=False)
    _cosines: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        rows = np.concatenate([self.pairs.first, self.pairs.second])
        partners = np.concatenate([self.pairs.second, self.pairs.first])
        order = np.lexsort((partners, rows))
        self._partners = partners[order]
        self._cosines = np.tile(self.pairs.cosine, 2)[order]
        self._starts = np.searchsorted(rows[order], np.arange(len(self.pairs.crowded) + 1))

    def of(self, row: int) -> tuple[Indices, npt.NDArray[np.float32]]:
        """Return all partners of a row, sorted by number, and their cosines."""
        if self.pairs.crowded[row]:
            if self.scans_left and self.source is not None:
                self.scans_left -= 1
                return self._scan(self.source, row)
            self.cut += 1
        some = slice(self._starts[row], self._starts[row + 1])
        return self._partners[some], self._cosines[some]

    def _scan(self, source: RowSource, row: int) -> tuple[Indices, npt.NDArray[np.float32]]:
        vector = source.take(np.array([row]))[0]
        rows, cosines = [], []
        for start in range(0, len(source), _ROWS_AT_ONCE):
            found = source.block(start, start + _ROWS_AT_ONCE) @ vector
            hits = np.flatnonzero(found >= self.threshold)
            rows.append(hits + start)
            cosines.append(found[hits])
        every, cosine = np.concatenate(rows), np.concatenate(cosines)
        others = every != row
        return every[others], cosine[others]


DEFAULT_LIMIT: Final = 64
"""Partners that a row keeps at least, if it has so many."""
_FLOOR: Final = 2_000_000
"""Pairs that are always held (32 MB) before anything is thinned out."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows at or above a cosine. In a join of a set with itself, `first < second`."""

    first: Indices
    second: Indices
    cosine: npt.NDArray[np.float32]
    crowded: npt.NDArray[np.bool_]
    """(rows of the first set,) True if the list of the row was cut."""

    def renamed(self, first: Indices, second: Indices) -> Pairs:
        """Return the same pairs with the numbers `first[i]` and `second[j]` in place of i and j."""
        return Pairs(first[self.first], second[self.second], self.cosine, self.crowded)


@dataclass
class PairBuffer:
    """Collects pairs in blocks, and keeps those among the best `limit` of their first row.

    In a join of a set with itself, a pair stays if it is among the best of either row. Pairs that come later can only
    lower the rank of a pair, so dropping pairs early never drops one that would have stayed.
    """

    rows: int
    selfjoin: bool
    limit: int = DEFAULT_LIMIT
    _parts: list[tuple[Indices, Indices, npt.NDArray[np.float32]]] = field(default_factory=list)
    _held: int = 0
    _twice: bool = False
    _crowded: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self._crowded = np.zeros(self.rows, bool)

    @property
    def _capacity(self) -> int:
        return _FLOOR + 2 * self.limit * self.rows

    def add_block(self, cosines: Vectors, threshold: float, row: int, column: int) -> None:
        """Add the pairs of a block that reach the threshold; its upper left corner is at (row, column).

        In a join of a set with itself, only pairs above the diagonal are added.
        """
        if not cosines.size or cosines.max() < threshold:
            return
        hits = cosines >= np.float32(threshold)
        rows, columns = np.arange(row, row + cosines.shape[0]), np.arange(column, column + cosines.shape[1])
        if self.selfjoin and row + len(cosines) > column:
            hits &= rows[:, None] < columns
        self._take(cosines, hits, rows, columns)

    def add_product(self, cosines: Vectors, threshold: float, rows: Indices, columns: Indices) -> None:
        """Add the pairs of any rows and columns that reach the threshold.

        In a join of a set with itself, a pair may be added in both orders; it is kept once.
        """
        if not cosines.size or cosines.max() < threshold:
            return
        hits = cosines >= np.float32(threshold)
        if self.selfjoin:
            hits &= rows[:, None] != columns
            self._twice = True
        self._take(cosines, hits, rows, columns)

    def _take(self, cosines: Vectors, hits: npt.NDArray[np.bool_], rows: Indices, columns: Indices) -> None:
        if np.count_nonzero(hits) > self.limit * sum(cosines.shape):
            hits = self._thin_block(cosines, hits, rows, columns)
        flat = np.flatnonzero(hits)
        if len(flat):
            i, j = np.divmod(flat, cosines.shape[1])
            first, second = rows[i], columns[j]
            if self._twice:
                first, second = np.minimum(first, second), np.maximum(first, second)
            self.add(first, second, cosines.ravel()[flat])

    def add(self, first: Indices, second: Indices, cosine: npt.NDArray[np.float32]) -> None:
        """Add pairs."""
        self._parts.append((first, second, cosine))
        self._held += len(first)
        if self._held > self._capacity:
            self._thin()

    def finish(self) -> Pairs:
        """Return all pairs once, sorted by the first row, then by the second."""
        self._thin()
        return Pairs(*_sorted_once(*self._joined()), self._crowded)

    def _thin_block(
        self, cosines: Vectors, hits: npt.NDArray[np.bool_], rows: Indices, columns: Indices
    ) -> npt.NDArray[np.bool_]:
        """Keep the best hits of each row of a block, and of each column in a join of a set with itself."""
        masked = np.where(hits, cosines, np.float32(-2))
        kept = np.zeros_like(hits)
        for axis in (0, 1) if self.selfjoin else (1,):
            count = min(self.limit, masked.shape[axis])
            best = np.argpartition(masked, -count, axis=axis)
            best = np.take(best, range(-count, 0), axis=axis)
            np.put_along_axis(kept, best, values=True, axis=axis)
        kept &= hits
        lost = hits & ~kept
        self._crowded[rows[lost.any(axis=1)]] = True
        if self.selfjoin:
            self._crowded[columns[lost.any(axis=0)]] = True
        return kept

    def _joined(self) -> tuple[Indices, Indices, npt.NDArray[np.float32]]:
        if not self._parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        first, second, cosine = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return first, second, cosine

    def _thin(self) -> None:
        first, second, cosine = self._joined()
        if self._twice:
            first, second, cosine = _sorted_once(first, second, cosine)
        if self.selfjoin:
            ranks = ranks_of(np.concatenate([first, second]), np.concatenate([second, first]), np.tile(cosine, 2))
            rank = np.minimum(ranks[: len(first)], ranks[len(first) :])
        else:
            rank = ranks_of(first, second, cosine)
        kept = rank < self.limit
        self._crowded[first[~kept]] = True
        if self.selfjoin:
            self._crowded[second[~kept]] = True
        self._parts = [(first[kept], second[kept], cosine[kept])]
        self._held = int(kept.sum())


def _sorted_once(
    first: Indices, second: Indices, cosine: npt.NDArray[np.float32]
) -> tuple[Indices, Indices, npt.NDArray[np.float32]]:
    """Return each pair once, sorted by the first row, then by the second."""
    order = np.lexsort((second, first))
    first, second, cosine = first[order], second[order], cosine[order]
    fresh = np.ones(len(first), bool)
    fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[fresh], second[fresh], cosine[fresh]


def ranks_of(rows: Indices, partners: Indices, cosine: npt.NDArray[np.float32]) -> Indices:
    """Return the rank of each pair among the pairs of its row; 0 is the best."""
    order = np.lexsort((partners, -cosine, rows))
    ordered = rows[order]
    starts = (
        np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(rows) else np.zeros(0, np.int64)
    )
    lengths = np.diff(np.append(starts, len(rows)))
    ranks = np.empty(len(rows), np.int64)
    ranks[order] = np.arange(len(rows)) - np.repeat(starts, lengths)
    return ranks
