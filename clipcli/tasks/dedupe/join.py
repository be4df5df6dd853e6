"""Find all pairs of rows above a cosine, by blocked products: one block is in memory, never the N × N matrix."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.core.devices import single_threaded_blas, usable_cores
from clipcli.tasks.dedupe.pairs import DEFAULT_LIMIT, PairBuffer, Pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.dedupe.pairs import Indices, RowSource

_ROWS_AT_ONCE: Final = 16_384


@dataclass(frozen=True)
class Collapsed:
    """The k distinct rows among n rows."""

    firsts: Indices
    """(k,) the number of the first row of each kind, ascending."""
    kind: Indices
    """(n,) the kind of each row, 0 to k - 1."""


def collapse(rows: Vectors | npt.NDArray[np.uint32]) -> Collapsed:
    """Find rows of 4-byte numbers that are equal bit by bit, in O(n log n).

    Rows are sorted by a 64-bit hash, and neighbours with equal hashes are compared number by number: after a collision
    equal rows may stay apart, but different rows are never joined.
    """
    vectors = np.ascontiguousarray(rows).view(np.uint32)
    if not len(vectors):
        return Collapsed(np.zeros(0, np.int64), np.zeros(0, np.int64))
    keys = _hashes(vectors)
    order = np.argsort(keys, kind="stable")
    is_first = np.ones(len(order), bool)
    is_first[1:] = keys[order[1:]] != keys[order[:-1]]
    suspects = np.flatnonzero(~is_first)
    for start in range(0, len(suspects), _ROWS_AT_ONCE):
        block = suspects[start : start + _ROWS_AT_ONCE]
        is_first[block] = (vectors[order[block]] != vectors[order[block - 1]]).any(axis=1)
    leaders = order[is_first]
    kind_in_order = np.cumsum(is_first) - 1
    by_first = np.argsort(leaders, kind="stable")
    renumbered = np.empty_like(by_first)
    renumbered[by_first] = np.arange(len(by_first))
    kind = np.empty(len(order), np.int64)
    kind[order] = renumbered[kind_in_order]
    return Collapsed(leaders[by_first].astype(np.int64), kind)


def _hashes(vectors: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Return the multilinear hash of each row's words modulo 2^64."""
    weights = np.random.default_rng(20).integers(0, 2**63, vectors.shape[1], dtype=np.uint64)
    weights = weights * np.uint64(2) + np.uint64(1)
    keys = np.empty(len(vectors), np.uint64)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        words = vectors[start : start + _ROWS_AT_ONCE].astype(np.uint64)
        words *= weights
        keys[start : start + len(words)] = words.sum(axis=1, dtype=np.uint64)
    return keys


_ROWS: Final = 1024
_COLUMNS: Final = 4096
"""A block of 1024 × 4096 float32 is 16 MB: large enough that the product runs at full speed, on one core or on many."""
_FEW_ROWS: Final = 256
_FEW_COLUMNS: Final = 1024
"""The same for one core: a block of 1 MB stays in its cache."""


def join_self(
    source: RowSource,
    threshold: float,
    *,
    limit: int = DEFAULT_LIMIT,
    advance: Callable[[int], object] = lambda _n: None,
) -> Pairs:
    """Return pairs `first < second` whose dot product is at least `threshold`.

    Args:
        source: rows of unit length.
        threshold: smallest cosine.
        limit: a pair is kept if it is among the `limit` best of either of its rows; rows that lose pairs are marked as
            crowded.
        advance: called with the number of finished rows, for a progress bar.
    """
    total = len(source)
    pairs = PairBuffer(total, selfjoin=True, limit=limit)
    out = np.empty((_ROWS, _COLUMNS), np.float32)
    for row in range(0, total, _ROWS):
        left = source.block(row, min(row + _ROWS, total))
        for column in range(row, total, _COLUMNS):
            right = source.block(column, min(column + _COLUMNS, total))
            pairs.add_block(_product(left, right, out), threshold, row, column)
        advance(len(left))
    return pairs.finish()


def join_sets(
    queries: RowSource,
    references: RowSource,
    threshold: float,
    *,
    limit: int = DEFAULT_LIMIT,
    advance: Callable[[int], object] = lambda _n: None,
) -> Pairs:
    """Return pairs of a query (first) and a reference (second) whose dot product is at least `threshold`.

    Each query keeps its `limit` best references.
    """
    starts = range(0, len(queries), _ROWS)

    def of_rows(start: int) -> Pairs:
        return _join_rows(queries.block(start, min(start + _ROWS, len(queries))), references, threshold, limit)

    parts: list[Pairs] = []
    with single_threaded_blas(), ThreadPoolExecutor(usable_cores()) as pool:
        for start, pairs in zip(starts, pool.map(of_rows, starts), strict=True):
            parts.append(Pairs(pairs.first + start, pairs.second, pairs.cosine, pairs.crowded))
            advance(len(pairs.crowded))
    return _concatenated(parts)


def _join_rows(left: Vectors, references: RowSource, threshold: float, limit: int) -> Pairs:
    """Return pairs of some queries with all references, in blocks that fit into the cache of one core."""
    pairs = PairBuffer(len(left), selfjoin=False, limit=limit)
    out = np.empty((_FEW_ROWS, _FEW_COLUMNS), np.float32)
    for column in range(0, len(references), _FEW_COLUMNS):
        right = references.block(column, min(column + _FEW_COLUMNS, len(references)))
        for row in range(0, len(left), _FEW_ROWS):
            pairs.add_block(_product(left[row : row + _FEW_ROWS], right, out), threshold, row, column)
    return pairs.finish()


def _concatenated(parts: Sequence[Pairs]) -> Pairs:
    empty = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool))
    names = ("first", "second", "cosine", "crowded")
    return Pairs(*(np.concatenate([getattr(part, name) for part in (empty, *parts)]) for name in names))


def _product(left: Vectors, right: Vectors, out: Vectors) -> Vectors:
    """Return `left @ right.T`, written to `out` if the shape fits."""
    if len(left) == len(out) and len(right) == out.shape[1]:
        return np.matmul(left, right.T, out=out)
    return np.asarray(left @ right.T, np.float32)
