"""Vectors that lie in a mapped file: read ahead, taken as they lie there, and let go when they are done with."""

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
    _advise(vectors, 0, rows, "MADV_WILLNEED")
    for start in range(0, len(vectors), rows):
        stop = start + rows
        _advise(vectors, stop, stop + rows, "MADV_WILLNEED")  # a cold file is read twice as fast, a warm one as before
        yield start, np.asarray(vectors[start:stop], dtype)
        _advise(vectors, start, stop, "MADV_DONTNEED")  # they stay in the system's file cache


def _advise(vectors: npt.NDArray[np.floating], start: int, stop: int, advice: str) -> None:
    """Tell the system about the pages of some rows, where it can be told and they are a file's."""
    pages = getattr(vectors, "_mmap", None)
    if not isinstance(vectors, np.memmap) or not isinstance(pages, mmap.mmap) or not hasattr(mmap, advice):
        return
    base, row = int(vectors.offset) % mmap.ALLOCATIONGRANULARITY, vectors.strides[0]
    first = (base + start * row) // mmap.PAGESIZE * mmap.PAGESIZE
    last = min((base + stop * row) // mmap.PAGESIZE * mmap.PAGESIZE, len(pages))
    if last > first:
        pages.madvise(getattr(mmap, advice), first, last - first)
