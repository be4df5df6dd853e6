"""Vectors that lie in a mapped file: taken as they lie there, and let go when they are done with."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from clipcli.tasks.scanning import Block


def slices(vectors: npt.NDArray[np.floating], rows: int) -> Iterator[tuple[int, Block]]:
    """(number of the first row, at most `rows` of them); pages of the last slice are let go when the next is taken."""
    dtype = vectors.dtype if vectors.dtype == np.float16 else np.dtype(np.float32)
    for start in range(0, len(vectors), rows):
        stop = min(start + rows, len(vectors))
        yield start, np.asarray(vectors[start:stop], dtype)
        _let_go(vectors, start, stop)


def _let_go(vectors: npt.NDArray[np.floating], start: int, stop: int) -> None:
    """Tell the system that the pages of some rows are not needed in this process; they stay in its file cache."""
    pages = getattr(vectors, "_mmap", None)
    if not isinstance(vectors, np.memmap) or not isinstance(pages, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    base = int(vectors.offset) % mmap.ALLOCATIONGRANULARITY
    first = (base + start * vectors.strides[0]) // mmap.PAGESIZE * mmap.PAGESIZE
    last = min((base + stop * vectors.strides[0]) // mmap.PAGESIZE * mmap.PAGESIZE, len(pages))
    if last > first:
        pages.madvise(mmap.MADV_DONTNEED, first, last - first)
