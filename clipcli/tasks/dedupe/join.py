"""All pairs of rows above a cosine, by blocked products: one block of results is in memory, never N × N."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.tasks.dedupe.pairs import DEFAULT_LIMIT, PairBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.tasks.dedupe.pairs import Pairs
    from clipcli.tasks.dedupe.sources import Source
    from clipcli.vectors import Vectors

_ROWS: Final = 1024
_COLUMNS: Final = 4096
"""A block of 1024 × 4096 float32 is 16 MB: large enough that the product runs at full speed, on one core or on many."""


def join_self(
    source: Source, threshold: float, *, limit: int = DEFAULT_LIMIT, advance: Callable[[int], object] = lambda _n: None
) -> Pairs:
    """Pairs `first < second` whose dot product is at least `threshold`.

    Args:
        source: Rows of unit length.
        threshold: Smallest cosine.
        limit: A pair is kept while it is among the `limit` best of either of its rows; rows that had to let go of any
            are marked as crowded.
        advance: Told how many rows are done, for a progress bar.
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
    queries: Source,
    references: Source,
    threshold: float,
    *,
    limit: int = DEFAULT_LIMIT,
    advance: Callable[[int], object] = lambda _n: None,
) -> Pairs:
    """Pairs of a query (first) and a reference (second) whose dot product is at least `threshold`.

    Of each query the `limit` best references are kept.
    """
    pairs = PairBuffer(len(queries), selfjoin=False, limit=limit)
    out = np.empty((_ROWS, _COLUMNS), np.float32)
    for row in range(0, len(queries), _ROWS):
        left = queries.block(row, min(row + _ROWS, len(queries)))
        for column in range(0, len(references), _COLUMNS):
            right = references.block(column, min(column + _COLUMNS, len(references)))
            pairs.add_block(_product(left, right, out), threshold, row, column)
        advance(len(left))
    return pairs.finish()


def _product(left: Vectors, right: Vectors, out: Vectors) -> Vectors:
    """`left @ right.T`, into the one block of memory where it fits."""
    if len(left) == len(out) and len(right) == out.shape[1]:
        return np.matmul(left, right.T, out=out)
    return np.asarray(left @ right.T, np.float32)
