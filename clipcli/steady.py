"""Batches whose rows do not depend on each other, to the bit.

A matrix product may add up in another order when it has few rows, and a text may be padded further when a longer one
stands beside it. Either changes the last bits of a vector, so that the same input would give another vector in another
batch, after --resume, or from the cache. Row counts that are multiples of four and lengths that are a text's own
multiple of sixteen avoid both on the CPU, for a few rows of work at the end of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

ROWS = 4
TOKENS = 16


def padded_rows(count: int) -> npt.NDArray[np.intp]:
    """Indices of `count` rows, the last repeated until their number is a multiple of four; () for no rows."""
    return np.minimum(np.arange(-(-count // ROWS) * ROWS), count - 1)


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
