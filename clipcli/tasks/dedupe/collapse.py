"""Identical vectors become one row: a million copies of one picture cost a join no more than one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.tasks.dedupe.sources import Indices
    from clipcli.vectors import Vectors

_ROWS_AT_ONCE: Final = 16_384


@dataclass(frozen=True)
class Collapsed:
    """n rows and the k different ones among them."""

    firsts: Indices
    """(k,) the number of the first row of each kind, ascending."""
    kind: Indices
    """(n,) which of the k each row is."""


def collapse(rows: Vectors | npt.NDArray[np.uint32]) -> Collapsed:
    """Find rows of four-byte numbers that are equal bit by bit, in O(n log n).

    Rows are sorted by a 64-bit hash of their bytes, and equal hashes are compared number by number, so that a collision
    costs a missed saving and never a wrong answer.
    """
    vectors = np.ascontiguousarray(rows).view(np.uint32)
    if not len(vectors):
        return Collapsed(np.zeros(0, np.int64), np.zeros(0, np.int64))
    keys = _hashes(vectors)
    order = np.argsort(keys, kind="stable")
    fresh = np.ones(len(order), bool)
    fresh[1:] = keys[order[1:]] != keys[order[:-1]]
    suspects = np.flatnonzero(~fresh)
    for start in range(0, len(suspects), _ROWS_AT_ONCE):
        some = suspects[start : start + _ROWS_AT_ONCE]
        fresh[some] = (vectors[order[some]] != vectors[order[some - 1]]).any(axis=1)
    leaders = order[fresh]
    kind_in_order = np.cumsum(fresh) - 1
    by_first = np.argsort(leaders, kind="stable")
    renumbered = np.empty_like(by_first)
    renumbered[by_first] = np.arange(len(by_first))
    kind = np.empty(len(order), np.int64)
    kind[order] = renumbered[kind_in_order]
    return Collapsed(leaders[by_first].astype(np.int64), kind)


def _hashes(vectors: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Multilinear hash of each row's words modulo 2^64."""
    weights = np.random.default_rng(20).integers(0, 2**63, vectors.shape[1], dtype=np.uint64)
    weights = weights * np.uint64(2) + np.uint64(1)
    keys = np.empty(len(vectors), np.uint64)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        words = vectors[start : start + _ROWS_AT_ONCE].astype(np.uint64)
        words *= weights
        keys[start : start + len(words)] = words.sum(axis=1, dtype=np.uint64)
    return keys
