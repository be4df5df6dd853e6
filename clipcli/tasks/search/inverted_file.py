"""Cells of neighbouring vectors, so that a query is compared with the rows of a few cells only.

The inverted file of Sivic and Zisserman ("Video Google", ICCV 2003), with k-means on two levels: the cells of a cell.
A row is assigned to the nearest centre of the first level, then to the nearest of that one's centres: with k cells this
takes 2 √k products instead of k.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.core.devices import usable_cores
from clipcli.tasks.k_means import k_means, nearest_centres
from clipcli.tasks.search.sign_codes import ProductCounter, QueryCode, rows_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.core.vectors import Scores, Vector, Vectors
    from clipcli.tasks.search.sign_codes import Codes

SAMPLE_PER_CELL: Final = 32
"""Rows of a sample that centres are the means of."""
_ROUNDS: Final = 8
_CELLS_PER_ROOT: Final = 5
_LEAST_ROWS: Final = 64
"""Rows of a cell on average, at least."""


def cell_count(rows: int) -> int:
    """Return the number of cells for so many rows: 5 √n. With more, fewer rows are scored, and more centres."""
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
    """(words, n): the signs of the row at each position."""
    factors: Scores
    """(n,) float32: of the codes."""

    def candidates(self, query: Vector, probes: int, count: int) -> npt.NDArray[np.int64]:
        """Return up to `count` rows of the `probes` best cells whose estimated cosines are largest, in any order."""
        cells, ends, estimates = self._scan(query, probes)
        best = _largest(estimates, count)
        owner = np.searchsorted(ends, best, "right")
        return np.asarray(self.rows[self.starts[cells[owner] + 1] - (ends[owner] - best)])

    def estimates(self, query: Vector, probes: int) -> tuple[npt.NDArray[np.int64], Scores]:
        """Return all rows of the `probes` best cells for a query, and their estimated cosines."""
        cells, _, estimates = self._scan(query, probes)
        return np.concatenate([np.empty(0, np.int64), *(self.rows[run] for run in self._runs(cells))]), estimates

    def _scan(self, query: Vector, probes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Scores]:
        """Estimate cosines of a query with all rows of its `probes` best cells, on all cores.

        Returns:
            The cells; where the rows of each end in the third array; and the estimates.
        """
        # Not by BLAS, whose threads go on spinning where those below should run.
        scores = np.einsum("ij,j->i", self.centres, query)
        code = QueryCode.of(np.einsum("i,ij->j", query, self.rotation))
        cells = best_cells(scores, probes)
        sizes = self.starts[cells + 1] - self.starts[cells]
        ends = np.cumsum(sizes)
        estimates = np.empty(ends[-1], np.float32)
        batch = _STEPS_PER_BATCH * rows_at_once(len(self.codes))
        edges = [0, *(np.flatnonzero(np.diff(ends // batch)) + 1).tolist(), len(cells)]
        batches = pairwise(edges)  # one for all threads

        def work(_: int) -> None:
            counter = ProductCounter(code)
            for first, last in batches:
                own, out = cells[first:last], estimates[ends[first] - sizes[first] : ends[last - 1]]
                runs = self._runs(own)
                counter.products(np.concatenate([self.codes[:, run] for run in runs], axis=1), out)
                out *= np.concatenate([self.factors[run] for run in runs])
                out += np.repeat(scores[own], sizes[first:last])

        if len(estimates) < _FEW_ROWS:
            work(0)
        else:
            list(self._threads.map(work, range(usable_cores())))
        return cells, ends, estimates

    def _runs(self, cells: npt.NDArray[np.int64]) -> list[slice]:
        """Return the positions of the rows of ascending cells, those of neighbouring cells together."""
        edges = np.flatnonzero(np.diff(cells) > 1)
        firsts = self.starts[cells[np.concatenate([[0], edges + 1])]]
        lasts = self.starts[cells[np.concatenate([edges, [len(cells) - 1]])] + 1]
        return [slice(first, last) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(usable_cores(), "cells")


_STEPS_PER_BATCH: Final = 4
"""Times `rows_at_once` of rows that a thread takes together."""
_FEW_ROWS: Final = 50_000
"""Rows that one thread estimates faster than several."""
_SAMPLED: Final = 64


def _largest(values: Scores, count: int) -> npt.NDArray[np.int64]:
    """Return the positions of the `count` largest values, in any order.

    A bound from a sample leaves few of them to a partition, which is slow.
    """
    if len(values) <= count:
        return np.arange(len(values))
    sample = values[::_SAMPLED]
    expected = count / _SAMPLED
    rank = int(expected + 3 * expected**0.5) + 1
    near = np.arange(len(values))
    if rank < len(sample):
        above = np.flatnonzero(values >= np.partition(sample, len(sample) - rank)[len(sample) - rank])
        near = above if len(above) >= count else near
    return near[np.argpartition(values[near], len(near) - count)[-count:]]
