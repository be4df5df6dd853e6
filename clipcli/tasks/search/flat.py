"""Exact search: the best rows of a corpus of any size for many queries at once, block by block.

A float32 matrix product proposes, float64 decides: BLAS rounds differently with the shape of a block, so rows within
its error bound of the limit are scored again in float64, each by itself. The result is the same for any block size,
number of threads and order of equal vectors: scores fall, ties stand by name, then by row.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from clipcli.core.devices import usable_cores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.core.vectors import Scores, Vectors


@dataclass(frozen=True)
class BlockQuery:
    """Queries over one block."""

    queries: Vectors
    """(queries, dim) float32, unit length."""
    block: Vectors
    """(rows, dim) float32, unit length."""
    limits: Scores
    """(queries,): what a product has to reach, less `error`."""
    error: float
    """The most by which a float32 product can be off."""
    top: int | None
    """How many rows a query has to find in this block at most; None where `limits` say enough."""
    allowed: npt.NDArray[np.bool_] | None
    """(rows,): rows that count at all; None is all of them."""
    hidden: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    """Queries and rows of the block that do not go together, pair by pair."""


@dataclass(frozen=True)
class BlockCandidates:
    """Every pair that may count, and perhaps some more."""

    queries: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    """Of the block, pair by pair with `queries`."""
    first: Scores
    """(rows,): products of the first query, before anything was left out."""


Kernel: TypeAlias = Callable[[BlockQuery], "BlockCandidates | None"]
"""None says that it cannot go on: the CPU takes this block and all after it."""


Block: TypeAlias = npt.NDArray[np.floating]
"""(rows, dim) float32 or float16, unit length: some rows of a corpus."""
FEW = 4
"""Most queries for which this is faster than BLAS."""
_PIECE = 1 << 20
"""Bytes of float32 per piece of work of a thread."""
_MOST_THREADS = 16
"""Enough to read memory at its full speed."""


class Scanner:
    """Multiplies queries with blocks of a corpus, on several threads; they end with the object."""

    def __init__(self) -> None:
        self._threads = min(usable_cores(), _MOST_THREADS)
        self._pool = ThreadPoolExecutor(self._threads, "scan")

    def products(self, queries: Vectors, block: Block) -> Scores:
        """Return the dot products, (queries, rows) float32, of (queries, dim) and (rows, dim)."""
        if len(queries) == 1 and block.dtype == np.float32:
            products: Scores = np.dot(block, queries[0])[None]
            return products
        products = np.empty((len(queries), len(block)), np.float32)
        step = max(_PIECE // (4 * queries.shape[1]), 1)
        starts = iter(range(0, len(block), step))  # one for all threads

        def work(_: int) -> None:
            for start in starts:
                piece = block[start : start + step].astype(np.float32, copy=False)
                np.einsum("qj,ij->qi", queries, piece, out=products[:, start : start + step])

        for _ in self._pool.map(work, range(self._threads)):
            pass
        return products


_LENGTH_TOLERANCE = 0.02


class UnusableRowError(ValueError):
    """A row that would silently give wrong answers: `row` is its number, `reason` the problem."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row} {reason}")
        self.row = row
        self.reason = reason


def refuse_unusable(products: Scores, start: int, block: Block) -> None:
    """Raise UnusableRowError for a row that is zero or not finite, found by the products of one query."""
    finite = np.isfinite(products)
    if not finite.all():
        raise UnusableRowError(start + int(finite.argmin()), "holds a number that is not finite")
    for row in np.flatnonzero(products == 0).tolist():
        if not block[row].any():
            raise UnusableRowError(start + row, "is zero")


def refuse_lengths(vectors: Vectors, rows: Rows) -> None:
    """Raise UnusableRowError if one of the best rows is not of unit length; `rows` are their numbers."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    wrong = np.abs(lengths - 1) > _LENGTH_TOLERANCE
    if wrong.any():
        raise UnusableRowError(int(rows[wrong.argmax()]), "is not of unit length")


Rows: TypeAlias = "npt.NDArray[np.int64]"
Blocks: TypeAlias = "Iterable[tuple[int, Block]]"
"""(number of the first row, rows), in order."""

SCORES_AT_ONCE = 1 << 22
"""Products in memory together: 16 MB."""
_PAIRS_AT_ONCE = 256
"""Pairs scored again together: 3 MB at 512 numbers, so that blocks are what memory is for."""
_QUERIES_AT_ONCE = 64
_BELOW_ALL = np.float32(-2)
"""Under every cosine, and above the -inf of rows that do not count."""


@dataclass(frozen=True)
class Hits:
    """The hits of one query, best first."""

    rows: Rows
    scores: Scores
    """Cosines, -1 to 1, computed in float64 and rounded once."""


@dataclass(frozen=True)
class SearchLimits:
    """The conditions for hits."""

    top: int | None = 10
    """The maximum number per query; None is all."""
    floors: Scores | None = None
    """(queries,): the lowest score that counts."""
    excluded: Sequence[Rows] = ()
    """Rows that do not count, query by query; empty for none."""
    allowed: npt.NDArray[np.bool_] | None = None
    """(corpus,): rows that count at all."""


def rows_a_block(dim: int, queries: int) -> int:
    """Return the number of rows of a block that keeps its vectors and products within 80 MB."""
    return int(min(max(SCORES_AT_ONCE // max(queries, 1), 1024), max((64 << 20) // (4 * dim), 1024)))


def search(
    queries: Vectors,
    blocks: Blocks,
    limits: SearchLimits,
    names: Sequence[str] | None = None,
    kernel: Kernel | None = None,
) -> list[Hits]:
    """Return the best rows for each query.

    Args:
        queries: (n, dim), unit length.
        blocks: the corpus; read once.
        limits: how many rows per query, and the lowest score.
        names: of all rows, to order rows of equal score; by number without them.
        kernel: proposes rows in place of this CPU.

    Raises:
        UnusableRowError: a row is not finite or zero, or one among the best is not of unit length.
    """
    pool = BestRows(queries, limits, names, kernel)
    for start, block in blocks:
        pool.add(start, block)
    return pool.hits()


def exact_scores(queries: Vectors, rows: Vectors) -> Scores:
    """Cosine of each pair (queries[i], rows[i]), (n,): in float64, rounded to float32 once."""
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        chunk = slice(start, start + _PAIRS_AT_ONCE)
        scores[chunk] = np.einsum("ij,ij->i", queries[chunk].astype(np.float64), rows[chunk].astype(np.float64))
    return scores


def product_error(dim: int) -> float:
    """Return the most by which a float32 product of two unit vectors can be off, in any order of summation."""
    return float(dim + 2) * 2.0**-24


class BestRows:
    """The best rows so far; give it the blocks of a corpus, then ask for `hits`."""

    def __init__(
        self, queries: Vectors, limits: SearchLimits, names: Sequence[str] | None = None, kernel: Kernel | None = None
    ) -> None:
        self.queries = np.ascontiguousarray(queries, dtype=np.float32)
        self.limits = limits
        self.names = names
        self._kernel = kernel
        self._scanner = Scanner()
        count = len(queries)
        self._limit: Scores = np.full(count, _BELOW_ALL, np.float32)
        if limits.floors is not None:
            self._limit = np.maximum(limits.floors.astype(np.float32), _BELOW_ALL)
        self._error = np.float32(product_error(self.queries.shape[1]))
        self._filled = limits.top is None
        self._owners = np.empty(0, np.int64)
        self._rows = np.empty(0, np.int64)
        self._scores = np.empty(0, np.float32)
        self._sorted = 0

    def add(self, start: int, block: Block) -> None:
        """Take the rows from number `start` on."""
        if not len(block) or not len(self.queries) or self.limits.top == 0:
            return
        for owners, columns in self._by_kernel(start, block) or self._by_cpu(start, block):
            self._propose(owners, columns, start, block)
        if self.limits.top is not None and len(self._rows) - self._sorted > self._sorted // 2:
            self._keep_best()

    def _by_cpu(self, start: int, block: Block) -> Iterator[tuple[Rows, Rows]]:
        """Yield candidate (query, column) pairs, for a chunk of queries at a time."""
        step = max(SCORES_AT_ONCE // len(block), 1)
        few = len(self.queries) <= FEW
        rows = block if few else np.asarray(block, np.float32)
        for first in range(0, len(self.queries), step):
            chunk = slice(first, first + step)
            products = self._scanner.products(self.queries[chunk], rows) if few else self.queries[chunk] @ rows.T
            if first == 0:
                refuse_unusable(products[0], start, block)
            self._leave_out(products, first, start)
            owners, columns = _at_least(products, self._proposed(products, self._limit[chunk]) - self._error)
            yield owners + first, columns

    def _by_kernel(self, start: int, block: Block) -> list[tuple[Rows, Rows]]:
        """Return the same from the kernel, all at once; empty without one, which the first refusal of it makes so."""
        if self._kernel is None:
            return []
        stop = start + len(block)
        allowed = None if self.limits.allowed is None else self.limits.allowed[start:stop]
        hidden = [rows[(rows >= start) & (rows < stop)] - start for rows in self.limits.excluded]
        owners = np.repeat(np.arange(len(hidden)), [len(rows) for rows in hidden])
        pairs = owners, np.concatenate([np.empty(0, np.int64), *hidden])
        top = None if self._filled else self.limits.top
        rows = np.asarray(block, np.float32)
        matches = self._kernel(BlockQuery(self.queries, rows, self._limit, float(self._error), top, allowed, pairs))
        if matches is None:
            self._kernel = None
            return []
        refuse_unusable(matches.first, start, block)
        return [(matches.queries, matches.rows)]

    def hits(self) -> list[Hits]:
        """Return what each query found."""
        self._keep_best()
        ends = np.searchsorted(self._owners, np.arange(len(self.queries) + 1))
        return [Hits(self._rows[a:b], self._scores[a:b]) for a, b in pairwise(ends.tolist())]

    def _proposed(self, products: Scores, limit: Scores) -> Scores:
        """Return the limit to reach in this block: where no full set of best rows is known yet, the block's own."""
        top = self.limits.top
        if self._filled or top is None or products.shape[1] <= top:
            return limit
        kth = products.shape[1] - top
        own = np.empty(len(products), np.float32)
        for first in range(0, len(products), _QUERIES_AT_ONCE):  # a partition is a copy
            chunk = slice(first, first + _QUERIES_AT_ONCE)
            own[chunk] = np.partition(products[chunk], kth, axis=1)[:, kth] - self._error
        return np.maximum(limit, own, dtype=np.float32)

    def _leave_out(self, products: Scores, first: int, start: int) -> None:
        stop = start + products.shape[1]
        if self.limits.allowed is not None:
            products[:, ~self.limits.allowed[start:stop]] = -np.inf
        for query, rows in enumerate(self.limits.excluded[first : first + len(products)]):
            products[query, rows[(rows >= start) & (rows < stop)] - start] = -np.inf

    def _propose(self, owners: Rows, columns: Rows, start: int, block: Block) -> None:
        for first in range(0, len(owners), _PAIRS_AT_ONCE):
            chunk = slice(first, first + _PAIRS_AT_ONCE)
            vectors = np.asarray(block[columns[chunk]], np.float32)
            scores = exact_scores(self.queries[owners[chunk]], vectors)
            good = scores >= self._limit[owners[chunk]]
            refuse_lengths(vectors[good], start + columns[chunk][good])
            self._owners = np.concatenate([self._owners, owners[chunk][good]])
            self._rows = np.concatenate([self._rows, start + columns[chunk][good]])
            self._scores = np.concatenate([self._scores, scores[good]])

    def _keep_best(self) -> None:
        """Sort by query, score, name and row, cut each query at its number, and raise the limits."""
        order = np.lexsort((self._rows, -self._scores, self._owners))
        owners, rows, scores = self._owners[order], self._rows[order], self._scores[order]
        rows = self._tied_by_name(owners, rows, scores)
        top = self.limits.top
        if top is not None:
            starts = np.searchsorted(owners, np.arange(len(self.queries)))
            best = np.arange(len(owners)) - starts[owners] < top
            owners, rows, scores = owners[best], rows[best], scores[best]
            lasts = np.searchsorted(owners, np.arange(len(self.queries))) + top - 1
            full = np.flatnonzero(np.bincount(owners, minlength=len(self.queries)) == top)
            self._limit[full] = scores[lasts[full]]
            self._filled = len(full) == len(self.queries)
        self._owners, self._rows, self._scores = owners, rows, scores
        self._sorted = len(rows)

    def _tied_by_name(self, owners: Rows, rows: Rows, scores: Scores) -> Rows:
        """Return the same rows, those of equal score ordered by name."""
        same = (owners[1:] == owners[:-1]) & (scores[1:] == scores[:-1])
        if self.names is None or not same.any():
            return rows
        names = self.names
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            run = rows[first : last + 1].tolist()
            rows[first : last + 1] = sorted(run, key=lambda row: (names[row], row))
        return rows


def _at_least(products: Scores, limit: Scores) -> tuple[Rows, Rows]:
    """Return the (query, column) pairs whose product reaches the limit of the query."""
    if len(products) == 1:
        columns = np.flatnonzero(products[0] >= limit[0])
        return np.zeros(len(columns), np.int64), columns
    matches = []
    for first in range(0, len(products), _QUERIES_AT_ONCE):  # the answers of a comparison take memory as well
        chunk = slice(first, first + _QUERIES_AT_ONCE)
        owners, columns = np.divmod(np.flatnonzero(products[chunk] >= limit[chunk, None]), products.shape[1])
        matches.append((owners + first, columns))
    return np.concatenate([owners for owners, _ in matches]), np.concatenate([columns for _, columns in matches])
