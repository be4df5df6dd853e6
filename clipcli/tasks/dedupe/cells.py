"""Rows parted into cells of neighbours, so that a row need be compared with a few cells only.

Spherical k-means on a sample, then each row goes to its nearest centre: the inverted file of Sivic and Zisserman
("Video Google", ICCV 2003).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.tasks.k_means import k_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.dedupe.join_rows import Indices, RowSource

_SAMPLE_A_CELL: Final = 32
_ROUNDS: Final = 4
_ROWS_AT_ONCE: Final = 4096


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
        for start in range(0, len(source), _ROWS_AT_ONCE):
            block = source.block(start, min(start + _ROWS_AT_ONCE, len(source)))
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
