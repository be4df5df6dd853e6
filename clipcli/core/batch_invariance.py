"""Make each row of a batch independent of the other rows, to the bit.

A matrix product may sum in a different order when it has few rows, and a text is padded further when the batch holds a
longer one. Both change the last bits of a vector, so the same input would get another vector in another batch, after
--resume, or from the cache. On the CPU, torch therefore always gets the same number of rows, and each text is padded to
the next multiple of 16 tokens. This costs a few extra rows at the end of a batch. ONNX Runtime sums in the same order
for two rows as for a hundred and needs less padding.

The position of a row in its batch must not matter either: see `clipcli.engines.openclip_towers`.
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
"""Runs with fewer images finish sooner when all threads work on one batch of four."""


def image_rows(precision: Precision) -> int:
    """Return the number of images per forward pass on the CPU; fewer take torch as long.

    More are slower for most models. In half precision, loading the weights costs relatively more: 16 images are 10 %
    faster than 8 for ViT-B-32, and equally fast for other models.
    """
    return 8 if precision == "fp32" else 16


def text_rows(precision: Precision) -> int:
    """Return the number of texts per forward pass on the CPU; fewer take torch as long."""
    return 2 * image_rows(precision)


def padded_rows(count: int) -> npt.NDArray[np.intp]:
    """Return the indices of `count` rows, the last one repeated up to a multiple of four; empty for no rows."""
    return _padded(0, count, ROWS)


def steps(count: int, size: int) -> Iterator[tuple[slice, npt.NDArray[np.intp]]]:
    """Yield each step of `size` rows: the slice of real rows, and `size` indices with the last row as padding."""
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield slice(start, stop), _padded(start, stop, size)


def _padded(start: int, stop: int, multiple: int) -> npt.NDArray[np.intp]:
    return np.minimum(np.arange(start, start + -(-(stop - start) // multiple) * multiple), stop - 1)


def groups_of_like_length(
    lengths: Sequence[int], limit: int, at_most: int
) -> Iterator[tuple[npt.NDArray[np.intp], int]]:
    """Yield the indices of at most `at_most` texts and the length they are padded to, shortest first.

    Args:
        lengths: number of tokens of each text, cut at `limit`.
        limit: the context length in tokens.
        at_most: most texts per group.
    """
    padded = np.minimum(-(-np.asarray(lengths, np.intp) // TOKENS) * TOKENS, limit)
    for length in sorted(set(padded.tolist())):  # not np.unique: it would import masked arrays
        members = np.flatnonzero(padded == length)
        for start in range(0, len(members), at_most):
            yield members[start : start + at_most], length
