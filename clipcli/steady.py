"""Batches whose rows do not depend on each other, to the bit.

A matrix product may add up in another order when it has few rows, and a text may be padded further when a longer one
stands beside it. Either changes the last bits of a vector, so that the same input would give another vector in another
batch, after --resume, or from the cache. Row counts that are multiples of four and lengths that are a text's own
multiple of sixteen avoid both on the CPU, for a few rows of work at the end of a batch. In half precision, and where
several threads share the work, any other number of rows may be added up in another way, so that there the number is
always the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipcli.devices import cpu_lanes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from clipcli.encoder import Precision

ROWS = 4
FIXED_ROWS = 16
TOKENS = 16


def least_rows(precision: Precision) -> int:
    """Rows that take as long as fewer of them, on the CPU."""
    return ROWS if precision == "fp32" and cpu_lanes()[1] == 1 else FIXED_ROWS


def padded_rows(count: int) -> npt.NDArray[np.intp]:
    """Indices of `count` rows, the last repeated until their number is a multiple of four; () for no rows."""
    return _padded(0, count, ROWS)


def steps(count: int, precision: Precision) -> Iterator[tuple[slice, npt.NDArray[np.intp]]]:
    """How the rows of a batch go through a model on the CPU: which, and the indices of those and of what pads them."""
    least = least_rows(precision)
    size = FIXED_ROWS if least == FIXED_ROWS else max(count, 1)
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield slice(start, stop), _padded(start, stop, least)


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
