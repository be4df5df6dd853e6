"""Cells of neighbouring vectors, so that a query is compared with the rows of a few cells only.

The inverted file of Sivic and Zisserman ("Video Google", ICCV 2003), with k-means on two levels: the cells of a cell.
A row is assigned to the nearest of the centres in the few groups that are nearest to it: with k cells this takes some
√k products instead of k, and few rows have a nearer centre elsewhere.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from clipcli.core.devices import usable_cores
from clipcli.tasks.k_means import k_means, nearest_centres
from clipcli.tasks.search.sign_codes import COARSE, FINE, ProductCounter, QueryCode, rows_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.core.vectors import Scores, Vector, Vectors
    from clipcli.tasks.search.sign_codes import Codes

_Positions: TypeAlias = npt.NDArray[np.int64]
SAMPLE_PER_CELL: Final = 32
"""Rows of a sample that centres are the means of."""
_ROUNDS: Final = 8
_CELLS_PER_ROOT: Final = 7
_SAMPLE_PER_GROUP: Final = 256
_GROUPS_PER_ROW: Final = 8
_LEAST_ROWS: Final = 64
"""Rows of a cell on average, at least."""


def cell_count(rows: int) -> int:
    """Return the number of cells for so many rows: 7 √n. With more, fewer rows are scored, and more centres."""
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
    def of(cls, sample: npt.NDArray[np.floating], cells: int) -> Partition:
        """Return about so many cells of (n, dim) sample vectors in any precision; the same for the same sample."""
        groups = max(1, round(cells**0.5))
        step = max(1, len(sample) // (_SAMPLE_PER_GROUP * groups))
        upper = k_means(np.asarray(sample[::step], np.float32), groups, _ROUNDS)
        nearest = nearest_centres(sample, upper)
        parts = []
        for group in range(len(upper)):
            members = np.asarray(sample[nearest == group], np.float32)
            share = round(cells * len(members) / len(sample))
            parts.append(k_means(members, max(1, share), _ROUNDS) if len(members) else upper[group : group + 1])
        return cls(upper, np.concatenate(parts), np.cumsum([0, *map(len, parts)]))

    def assign(self, vectors: Vectors) -> npt.NDArray[np.int32]:
        """Return the cell of each of (n, dim) vectors."""
        cells = np.empty(len(vectors), np.int32)
        nearness = np.full(len(vectors), -np.inf, np.float32)
        half = np.einsum("ij,ij->i", self.centres, self.centres) / 2
        for group, members in _members(self._nearest_groups(vectors)):
            own = slice(self.starts[group], self.starts[group + 1])
            products = vectors[members] @ self.centres[own].T - half[own]
            best = products.argmax(axis=1)
            nearest = products[np.arange(len(members)), best]
            nearer = nearest > nearness[members]
            nearness[members[nearer]] = nearest[nearer]
            cells[members[nearer]] = own.start + best[nearer]
        return cells

    def _nearest_groups(self, vectors: Vectors) -> npt.NDArray[np.int64]:
        """Return (n, groups) numbers of the groups that each vector is compared with."""
        count = min(_GROUPS_PER_ROW, len(self.upper))
        half = np.einsum("ij,ij->i", self.upper, self.upper) / 2
        return np.argpartition(half - vectors @ self.upper.T, count - 1, axis=1)[:, :count]


def best_cells(scores: Scores, count: int) -> npt.NDArray[np.int64]:
    """Return the `count` cells with the largest scores, in ascending order of their numbers, as they lie on disk."""
    if count >= len(scores):
        return np.arange(len(scores))
    return np.sort(np.argpartition(scores, len(scores) - count)[-count:])


def _members(groups: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield each group that occurs in (rows, groups) numbers, with the rows that it occurs in."""
    numbers = groups.ravel()
    order = np.argsort(numbers, kind="stable")
    edges = np.flatnonzero(np.diff(numbers[order])) + 1
    for members in np.split(order, edges):
        if len(members):
            yield int(numbers[members[0]]), members // groups.shape[1]


@dataclass(frozen=True)
class Estimates:
    """Estimated cosines of a query with rows, row by row with the cells that the rows are in."""

    rows: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    coarse: Scores
    fine: Scores


@dataclass(frozen=True)
class _TurnedQuery:
    """A query as an inverted file compares it."""

    vector: Vector
    """(bits,): turned as the rows' codes are."""
    products: Scores
    """(cells,): with the centres."""


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
    radii: Scores
    """(cells,) float32: root mean square of the distances of a cell's rows from its centre."""
    spread: float
    """Share of its radius by which a cell's best rows are taken to be nearer to a query than its centre is."""

    def candidates(self, query: Vector, probes: int, count: int) -> _Positions:
        """Return up to `count` rows of the `probes` best cells whose estimated cosines are largest, in any order."""
        turned = self._turned(query)
        near, cells, _ = self._near(turned, probes, COARSE_PER_ROW * count)
        if len(near) > count:
            near = near[_largest(self._fine(turned, near, cells), count)]
        return np.asarray(self.rows[near])

    def estimates(self, query: Vector, probes: int, count: int) -> Estimates:
        """Return up to `count` rows of the `probes` best cells, those with the best coarse estimates, with both."""
        turned = self._turned(query)
        near, cells, coarse = self._near(turned, probes, count)
        return Estimates(self.rows[near], cells, coarse, self._fine(turned, near, cells))

    def cell_scores(self, query: Vector) -> Scores:
        """Return the (cells,) scores that cells are opened by: how near their best rows may be to a query."""
        return self._cell_scores(self._turned(query))

    def _turned(self, query: Vector) -> _TurnedQuery:
        # Not by BLAS, whose threads go on spinning where those below should run.
        products = np.einsum("ij,j->i", self.centres, query)
        return _TurnedQuery(np.einsum("i,ij->j", query, self.rotation), products)

    def _cell_scores(self, query: _TurnedQuery) -> Scores:
        return np.asarray(query.products + np.float32(self.spread) * self.radii)

    def _near(self, query: _TurnedQuery, probes: int, count: int) -> tuple[_Positions, _Positions, Scores]:
        """Return the best `count` positions of the `probes` best cells by coarse estimates, ascending.

        Returns:
            The positions, the cell of each, and the estimates.
        """
        cells, ends, coarse = self._scan(query, probes)
        near = _largest(coarse, count)
        owner = np.searchsorted(ends, near, "right")
        return self.starts[cells[owner] + 1] - (ends[owner] - near), cells[owner], coarse[near]

    def _fine(self, query: _TurnedQuery, positions: _Positions, cells: _Positions) -> Scores:
        """Estimate cosines of a query with the rows at some positions, whose cells are given."""
        estimates = np.empty(len(positions), np.float32)
        counter = ProductCounter(QueryCode.of(query.vector, FINE))
        counter.products(np.take(self.codes, positions, axis=1), estimates)
        return np.asarray(estimates * self.factors[positions] + query.products[cells])

    def _scan(self, query: _TurnedQuery, probes: int) -> tuple[_Positions, _Positions, Scores]:
        """Estimate cosines of a query with all rows of its `probes` best cells, coarsely, on all cores.

        Returns:
            The cells; where the rows of each end in the third array; and the estimates.
        """
        scores, code = query.products, QueryCode.of(query.vector, COARSE)
        cells = best_cells(self._cell_scores(query), probes)
        sizes = self.starts[cells + 1] - self.starts[cells]
        ends = np.cumsum(sizes)
        estimates = np.empty(ends[-1], np.float32)
        batch = rows_at_once(len(self.codes))
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


COARSE_PER_ROW: Final = 8
"""Rows with the best coarse estimates among which a wanted row is looked for by fine ones."""
_FEW_ROWS: Final = 50_000
"""Rows that one thread estimates faster than several."""
_SAMPLED: Final = 64


def _largest(values: Scores, count: int) -> _Positions:
    """Return the positions of the `count` largest values, ascending; of equal ones the first.

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
    own = values[near]
    least = np.partition(own, len(own) - count)[len(own) - count]
    best = own > least
    best[np.flatnonzero(own == least)[: count - np.count_nonzero(best)]] = True
    return np.asarray(near[best])
