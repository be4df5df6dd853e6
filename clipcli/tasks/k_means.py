"""k-means on a sample of vectors: the centres of the cells that searches and joins look into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.core.vectors import Vectors

_ROWS_AT_ONCE: Final = 4096


def nearest_centres(vectors: Vectors, centres: Vectors) -> npt.NDArray[np.int64]:
    """Return the number of the centre nearest to each vector: the largest product less half its squared length."""
    half = np.einsum("ij,ij->i", centres, centres) / 2
    nearest = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        chunk = slice(start, start + _ROWS_AT_ONCE)
        nearest[chunk] = (vectors[chunk] @ centres.T - half).argmax(axis=1)
    return nearest


def k_means(sample: Vectors, count: int, rounds: int, *, unit_length: bool = False) -> Vectors:
    """Return at most `count` centres; one that nothing is nearest to stays where it is. The same for the same sample.

    Args:
        sample: (n, dim) float32.
        count: of centres.
        rounds: of k-means.
        unit_length: spherical k-means (Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data Using
            Clustering", 2001): centres are unit vectors, not means.
    """
    start = np.random.default_rng(20).permutation(len(sample))[:count]
    centres = sample[np.sort(start)].copy()
    for _ in range(rounds):
        nearest = nearest_centres(sample, centres)
        order = np.argsort(nearest, kind="stable")
        used, starts, counts = np.unique(nearest[order], return_index=True, return_counts=True)
        sums = np.add.reduceat(sample[order], starts, axis=0)
        sizes = np.linalg.norm(sums, axis=1, keepdims=True) if unit_length else counts[:, None]
        centres[used] = np.divide(sums, sizes, out=centres[used], where=sizes > 0)
    return np.asarray(centres, np.float32)
