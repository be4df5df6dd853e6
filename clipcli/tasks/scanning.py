"""A few queries against many rows, on all cores: as fast as memory is read.

A matrix product with so few queries computes less than it reads. One query over float32 rows is left to BLAS, whose
matrix-vector product is hard to beat (2 GB in 0.075 s, these threads 0.095 s). For two to six queries BLAS copies the
rows, and float16 it does not know: there every thread takes the next piece that is left, small enough to stay in its
core's cache, so that float16 rows are converted there too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from clipcli.devices import usable_cores

if TYPE_CHECKING:
    from clipcli.vectors import Scores, Vectors

Block: TypeAlias = npt.NDArray[np.floating]
"""(rows, dim) float32 or float16, unit length: some rows of a corpus."""
FEW = 4
"""Queries up to which this beats BLAS."""
_PIECE = 1 << 20
"""Bytes of float32."""
_MOST_THREADS = 16
"""Enough to read memory at its full speed."""


class Scanner:
    """Its threads end when it is let go."""

    def __init__(self) -> None:
        self._threads = min(usable_cores(), _MOST_THREADS)
        self._pool = ThreadPoolExecutor(self._threads, "scan")

    def products(self, queries: Vectors, block: Block) -> Scores:
        """(queries, dim) × (rows, dim) → (queries, rows)."""
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
