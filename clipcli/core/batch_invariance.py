"""Batches whose rows do not depend on each other, to the bit.

A matrix product may add up in another order when it has few rows, and a text may be padded further when a longer one is
in the batch. Either changes the last bits of a vector, so that the same input would give another vector in another
batch, after --resume, or from the cache. On the CPU torch therefore always sees the same number of rows, and texts at
their own multiple of sixteen tokens, for a few rows of work at the end of a batch. ONNX Runtime, which adds up in one
order for two rows and for a hundred, needs less.

Where a row stands in a batch must not matter either: see `clipcli.engines.openclip_towers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from clipcli.core.encoder import Precision

ROWS = 4
TOKENS = 16
FEW_IMAGES = 16
"""A run of fewer images is over sooner when all threads work on four of them together."""


def image_rows(precision: Precision) -> int:
    """Images that go through a model together on the CPU; fewer take torch as long.

    More are slower for most models. In half precision the weights' way to the core weighs more: 16 are a tenth faster
    than 8 for ViT-B-32, and as fast for others.
    """
    return 8 if precision == "fp32" else 16


def text_rows(precision: Precision) -> int:
    """Texts that go through a model together on the CPU; fewer take torch as long."""
    return 2 * image_rows(precision)


def padded_rows(count: int) -> npt.NDArray[np.intp]:
    """Indices of `count` rows, the last repeated until their number is a multiple of four; () for no rows."""
    return _padded(0, count, ROWS)


def steps(count: int, size: int) -> Iterator[tuple[slice, npt.NDArray[np.intp]]]:
    """Which rows go through a model one after the other, and the `size` indices of those and of what pads them."""
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield slice(start, stop), _padded(start, stop, size)


def _padded(start: int, stop: int, multiple: int) -> npt.NDArray[np.intp]:
    return np.minimum(np.arange(start, start + -(-(stop - start) // multiple) * multiple), stop - 1)


def groups_of_like_length(
    lengths: Sequence[int], limit: int, at_most: int
) -> Iterator[tuple[npt.NDArray[np.intp], int]]:
    """Groups of at most `at_most` texts, each with the length that all in it are padded to, shortest first.

    Args:
        lengths: tokens of each text, cut at `limit`.
        limit: the context length.
        at_most: texts a group.
    """
    padded = np.minimum(-(-np.asarray(lengths, np.intp) // TOKENS) * TOKENS, limit)
    for length in sorted(set(padded.tolist())):  # np.unique imports masked arrays
        members = np.flatnonzero(padded == length)
        for start in range(0, len(members), at_most):
            yield members[start : start + at_most], length
