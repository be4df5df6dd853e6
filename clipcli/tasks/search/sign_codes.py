"""One bit per dimension: estimate cosines of a query with many rows from the signs of their residuals.

RaBitQ (Gao and Long, SIGMOD 2024, arXiv:2405.12497): rows are turned by a random rotation, so that the signs carry
equally much; the query keeps four bits per dimension. The error of an estimate falls with the square root of the
dimensions, for any data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from clipcli.core.vectors import Scores, Vectors

Codes: TypeAlias = npt.NDArray[np.uint64]

WORD_BITS: Final = 64
_PLANE_WEIGHTS: Final = (1, 2, 4, -8)
"""Of the bits of a four-bit number in two's complement, the lowest first."""
_LARGEST: Final = 7
_WORDS_PER_BYTE: Final = 3
"""Words whose counts of 64 bits add up in eight bits."""
_WORDS_AT_ONCE: Final = 1 << 15
"""Words of codes that are counted together. Few large steps: threads wait for each other between steps of Python."""


def words_of(dim: int) -> int:
    """Return the number of 64-bit words of a row's code."""
    return -(-dim // WORD_BITS)


def rotation(dim: int) -> Vectors:
    """Return a (dim, bits) float32 matrix of orthonormal rows, always the same; bits are whole words."""
    bits = words_of(dim) * WORD_BITS
    square = np.linalg.qr(np.random.default_rng(20).standard_normal((bits, bits)))[0]
    return np.ascontiguousarray(square[:dim], np.float32)


def encode_signs(residuals: Vectors) -> tuple[Codes, Scores]:
    """Encode (n, bits) rotated residuals.

    Returns:
        (n, words) signs, and (n,) float32 factors: a row is nearest to its factor times its signs (+1 or -1), in the
        sense that both have the same product with the row itself.
    """
    codes = np.packbits(residuals > 0, axis=1).view(np.uint64)
    lengths = np.abs(residuals).sum(axis=1)
    squares = np.einsum("ij,ij->i", residuals, residuals)
    factors = np.divide(squares, lengths, out=np.zeros_like(squares), where=lengths > 0)
    return codes, np.asarray(factors, np.float32)


def rows_at_once(words: int) -> int:
    """Return the number of rows, of so many words each, whose products are computed together."""
    return max(_WORDS_AT_ONCE // words, 1)


@dataclass(frozen=True)
class QueryCode:
    """A rotated query in four bits per dimension."""

    planes: Codes
    """(4, words, 1): one bit of each dimension's number per plane."""
    step: float
    total: float
    """Sum of the numbers."""

    @classmethod
    def of(cls, query: Vectors) -> QueryCode:
        """Round a rotated (bits,) query."""
        step = float(np.abs(query).max()) / _LARGEST or 1.0
        numbers = np.rint(query / np.float32(step)).astype(np.int8)
        bits = [np.packbits((numbers >> plane) & 1).view(np.uint64) for plane in range(len(_PLANE_WEIGHTS))]
        return cls(np.stack(bits)[:, :, None], step, float(numbers.sum()))


class ProductCounter:
    """Multiplies a query with codes. Each thread needs its own, since it has memory for intermediate results."""

    def __init__(self, query: QueryCode) -> None:
        self._query = query
        planes, words, _ = query.planes.shape
        self._rows = rows_at_once(words)
        self._common = np.empty((planes, words, self._rows), np.uint64)
        self._counts = np.empty((planes, words, self._rows), np.uint8)
        parts = -(-words // _WORDS_PER_BYTE)
        self._sums = np.empty((planes, parts, self._rows), np.float32)
        self._weights = np.repeat(np.array(_PLANE_WEIGHTS, np.float32), parts)

    def products(self, codes: Codes, out: Scores) -> None:
        """Write the product of the query with the signs of each row: (words, n) codes → (n,) float32."""
        for start in range(0, len(out), self._rows):
            rows = slice(start, start + self._rows)
            self._write(codes[:, rows], out[rows])

    def _write(self, codes: Codes, out: Scores) -> None:
        rows = slice(0, len(out))
        common, counts, sums = (array[:, :, rows] for array in (self._common, self._counts, self._sums))
        np.bitwise_and(codes, self._query.planes, out=common)
        np.bitwise_count(common, out=counts)
        for part, first in enumerate(range(0, len(codes), _WORDS_PER_BYTE)):
            np.copyto(sums[:, part], np.add.reduce(counts[:, first : first + _WORDS_PER_BYTE], axis=1, dtype=np.uint8))
        # Whole numbers, exact in float32. Not a matrix product: BLAS starts threads for so few numbers.
        np.einsum("p,pn->n", self._weights, sums.reshape(len(self._weights), len(out)), out=out)
        out *= np.float32(2 * self._query.step)
        out -= np.float32(self._query.total * self._query.step)
