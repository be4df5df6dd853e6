"""Cells of neighbouring vectors, so that a query is compared with the rows of a few cells only.

The inverted file of Sivic and Zisserman ("Video Google", ICCV 2003), with k-means on two levels: the cells of a cell.
A row is assigned to the nearest centre of the first level, then to the nearest of that one's centres: with k cells this
takes 2 √k products instead of k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.tasks.k_means import k_means, nearest_centres
from clipcli.tasks.search.sign_codes import QueryCode, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.core.vectors import Scores, Vector, Vectors
    from clipcli.tasks.search.sign_codes import Codes

SAMPLE_PER_CELL: Final = 32
"""Rows of a sample that centres are the means of."""
_ROUNDS: Final = 8
_CELLS_PER_ROOT: Final = 2.5
_LEAST_ROWS: Final = 64
"""Rows of a cell on average, at least."""


def cell_count(rows: int) -> int:
    """Return the number of cells for so many rows: 2.5 √n, so that scoring centres takes as long as scoring codes."""
    return max(1, min(int(_CELLS_PER_ROOT * rows**0.5), rows // _LEAST_ROWS))


@dataclass(frozen=True)
class Partition:
    """Centres on two levels."""

    upper: Vectors
    """(groups, dim) float32."""
    centres: Vectors
    """(cells, dim) float32, those of a group side by side."""
    starts: npt.NDArray[np.int64]
    """(groups + 1,): the first cell of each group."""

    @classmethod
    def of(cls, sample: Vectors, cells: int) -> Partition:
        """Return about so many cells of (n, dim) sample vectors; the same for the same sample."""
        upper = k_means(sample, max(1, round(cells**0.5)), _ROUNDS)
        nearest = nearest_centres(sample, upper)
        parts = []
        for group in range(len(upper)):
            members = sample[nearest == group]
            share = round(cells * len(members) / len(sample))
            parts.append(k_means(members, max(1, share), _ROUNDS) if len(members) else upper[group : group + 1])
        return cls(upper, np.concatenate(parts), np.cumsum([0, *map(len, parts)]))

    def assign(self, vectors: Vectors) -> npt.NDArray[np.int32]:
        """Return the cell of each of (n, dim) vectors."""
        groups = nearest_centres(vectors, self.upper)
        cells = np.empty(len(vectors), np.int32)
        for group, members in _members(groups):
            first, last = self.starts[group], self.starts[group + 1]
            cells[members] = first + nearest_centres(vectors[members], self.centres[first:last])
        return cells


def best_cells(scores: Scores, count: int) -> npt.NDArray[np.int64]:
    """Return the `count` cells with the largest scores, in ascending order of their numbers, as they lie on disk."""
    if count >= len(scores):
        return np.arange(len(scores))
    return np.sort(np.argpartition(scores, len(scores) - count)[-count:])


def _members(groups: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield each group that occurs with the rows that are in it."""
    order = np.argsort(groups, kind="stable")
    edges = np.flatnonzero(np.diff(groups[order])) + 1
    for members in np.split(order, edges):
        if len(members):
            yield int(groups[members[0]]), members


@dataclass(frozen=True)
class InvertedFile:
    """The codes of n rows, cell by cell; all arrays may be mapped from files."""

    rotation: Vectors
    """(dim, bits) float32; see `sign_codes`."""
    centres: Vectors
    """(cells, dim) float32."""
    starts: npt.NDArray[np.int64]
    """(cells + 1,): position of the first row of each cell."""
    rows: npt.NDArray[np.int64]
    """(n,): the row at each position."""
    codes: Codes
    """(n × words,): the signs of each cell's rows, one word of all its rows after the other."""
    factors: Scores
    """(n,) float32: of the codes."""

    def candidates(self, query: Vector, probes: int, count: int) -> npt.NDArray[np.int64]:
        """Return up to `count` rows of the `probes` best cells whose estimated cosines are largest, in any order."""
        rows, estimates = self.estimates(query, probes)
        if len(rows) > count:
            rows = rows[np.argpartition(estimates, len(estimates) - count)[-count:]]
        return rows

    def estimates(self, query: Vector, probes: int) -> tuple[npt.NDArray[np.int64], Scores]:
        """Return all rows of the `probes` best cells for a query, and their estimated cosines."""
        scores = self.centres @ query
        code, words = QueryCode.of(query @ self.rotation), words_of(len(query))
        rows, estimates = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for cell in best_cells(scores, probes).tolist():
            first, last = int(self.starts[cell]), int(self.starts[cell + 1])
            codes = self.codes[first * words : last * words].reshape(words, last - first)
            estimates.append(scores[cell] + code.products(codes) * self.factors[first:last])
            rows.append(self.rows[first:last])
        return np.concatenate(rows), np.concatenate(estimates)
