"""Candidate pairs in bounded memory: each row keeps its best partners, and it is known who had to let some go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.tasks.dedupe.sources import Indices
    from clipcli.vectors import Vectors

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
    crowded_first: npt.NDArray[np.bool_]
    """(rows of the first set,) True where partners were let go: the row's list is not complete."""
    crowded_second: npt.NDArray[np.bool_]
    """The same for the second set; in a join of a set with itself, the same array."""


@dataclass
class PairBuffer:
    """Takes pairs block by block. A pair stays while it is among the best `limit` of either of its rows.

    Later pairs can only push a pair further back, so thinning early never drops what would have stayed.
    """

    first_rows: int
    second_rows: int
    selfjoin: bool
    limit: int = DEFAULT_LIMIT
    _parts: list[tuple[Indices, Indices, npt.NDArray[np.float32]]] = field(default_factory=list)
    _held: int = 0
    _crowded: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] = field(init=False)

    def __post_init__(self) -> None:
        crowded = np.zeros(self.first_rows, bool)
        self._crowded = (crowded, crowded if self.selfjoin else np.zeros(self.second_rows, bool))

    @property
    def _capacity(self) -> int:
        return _FLOOR + 2 * self.limit * (self.first_rows + self.second_rows)

    def add_block(self, cosines: Vectors, threshold: float, row: int, column: int) -> None:
        """Take what reaches the threshold in a block whose corner stands at (row, column).

        In a join of a set with itself, what lies on or below the diagonal is left out.
        """
        if not cosines.size or cosines.max() < threshold:
            return
        hits = cosines >= np.float32(threshold)
        if self.selfjoin and row + len(cosines) > column:
            hits &= np.arange(row, row + cosines.shape[0])[:, None] < np.arange(column, column + cosines.shape[1])
        if np.count_nonzero(hits) > self.limit * sum(cosines.shape):
            hits = self._thin_block(cosines, hits, row, column)
        flat = np.flatnonzero(hits)
        if len(flat):
            first, second = np.divmod(flat, cosines.shape[1])
            self.add(first + row, second + column, cosines.ravel()[flat])

    def add(self, first: Indices, second: Indices, cosine: npt.NDArray[np.float32]) -> None:
        """Take pairs."""
        self._parts.append((first, second, cosine))
        self._held += len(first)
        if self._held > self._capacity:
            self._thin()

    def mark_crowded(self, rows: Indices) -> None:
        """Note rows whose lists were cut short before they came here."""
        self._crowded[0][rows] = True

    def finish(self) -> Pairs:
        """All pairs, by first row and then second; each once."""
        self._thin()
        first, second, cosine = self._joined()
        order = np.lexsort((second, first))
        first, second, cosine = first[order], second[order], cosine[order]
        fresh = np.ones(len(first), bool)
        fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        return Pairs(first[fresh], second[fresh], cosine[fresh], *self._crowded)

    def _thin_block(
        self, cosines: Vectors, hits: npt.NDArray[np.bool_], row: int, column: int
    ) -> npt.NDArray[np.bool_]:
        """In a block where nearly everything is alike: the best of each row and of each column."""
        masked = np.where(hits, cosines, np.float32(-2))
        kept = np.zeros_like(hits)
        for axis in (0, 1):
            count = min(self.limit, masked.shape[axis])
            best = np.argpartition(masked, -count, axis=axis)
            best = np.take(best, range(-count, 0), axis=axis)
            np.put_along_axis(kept, best, values=True, axis=axis)
        kept &= hits
        lost = hits & ~kept
        self._crowded[0][row : row + len(cosines)] |= lost.any(axis=1)
        self._crowded[1][column : column + cosines.shape[1]] |= lost.any(axis=0)
        return kept

    def _joined(self) -> tuple[Indices, Indices, npt.NDArray[np.float32]]:
        if not self._parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        first, second, cosine = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return first, second, cosine

    def _thin(self) -> None:
        first, second, cosine = self._joined()
        if self.selfjoin:
            ranks = _ranks(np.concatenate([first, second]), np.concatenate([second, first]), np.tile(cosine, 2))
            rank = np.minimum(ranks[: len(first)], ranks[len(first) :])
        else:
            rank = np.minimum(_ranks(first, second, cosine), _ranks(second, first, cosine))
        kept = rank < self.limit
        self._crowded[0][first[~kept]] = True
        self._crowded[1][second[~kept]] = True
        self._parts = [(first[kept], second[kept], cosine[kept])]
        self._held = int(kept.sum())


def _ranks(rows: Indices, partners: Indices, cosine: npt.NDArray[np.float32]) -> Indices:
    """Place of each pair in its row's list, best first."""
    order = np.lexsort((partners, -cosine, rows))
    ordered = rows[order]
    starts = (
        np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(rows) else np.zeros(0, np.int64)
    )
    lengths = np.diff(np.append(starts, len(rows)))
    ranks = np.empty(len(rows), np.int64)
    ranks[order] = np.arange(len(rows)) - np.repeat(starts, lengths)
    return ranks
