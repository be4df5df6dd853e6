"""One bit per dimension: estimate cosines of a query with many rows from the signs of their residuals.

RaBitQ (Gao and Long, SIGMOD 2024, arXiv:2405.12497): rows are turned by a random rotation, so that the signs carry
equally much. The query keeps one bit per dimension for a first look, and four for the rows that pass it. The error of
an estimate falls with the square root of the dimensions, for any data.
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
COARSE: Final = 1
FINE: Final = 4
"""Bits per dimension of a query: of all rows that are looked at, and of those with the best coarse estimates."""
_WORDS_AT_ONCE: Final = 1 << 16
"""Words of a query's bits and of codes that are counted together, in the second-level cache. Few large steps: threads
wait for each other between steps of Python."""


def words_of(dim: int) -> int:
    """Return the number of 64-bit words of a row's code."""
    return -(-dim // WORD_BITS)


def rotation(dim: int) -> Vectors:
    """Return a (dim, bits) float32 matrix of orthonormal rows, always the same; bits are whole words."""
    bits = words_of(dim) * WORD_BITS
    square = np.linalg.qr(np.random.default_rng(20).standard_normal((bits, bits)))[0]
    return np.ascontiguousarray(square[:dim], np.float32)


def encode_signs(residuals: Vectors) -> tuple[Codes, Scores, Scores]:
    """Encode (n, bits) rotated residuals.

    Returns:
        (n, words) signs; (n,) float32 factors: a row is nearest to its factor times its signs (+1 or -1), in the
        sense that both have the same product with the row itself; and (n,) squared lengths.
    """
    codes = np.packbits(residuals > 0, axis=1).view(np.uint64)
    lengths = np.abs(residuals).sum(axis=1)
    squares = np.einsum("ij,ij->i", residuals, residuals)
    factors = np.divide(squares, lengths, out=np.zeros_like(squares), where=lengths > 0)
    return codes, np.asarray(factors, np.float32), squares


def rows_at_once(words: int) -> int:
    """Return the number of rows, of so many words each, whose products are computed together."""
    return max(_WORDS_AT_ONCE // words, 1)


@dataclass(frozen=True)
class QueryCode:
    """A rotated query, its numbers rounded to the odd numbers of so many bits: with one bit, +1 or -1."""

    planes: Codes
    """(planes, words, 1): one bit of each dimension's number per plane, the lowest first."""
    step: float
    """Factor of the odd numbers that brings them nearest to the query."""

    @classmethod
    def of(cls, query: Vectors, bits: int) -> QueryCode:
        """Round a rotated query, (dimensions,), to so many bits per dimension."""
        most = 2**bits - 1
        width = float(np.abs(query).max()) * 2 / (most + 1) or 1.0
        numbers = np.clip(np.floor(query / np.float32(width)) + (most + 1) // 2, 0, most).astype(np.uint8)
        odd = 2.0 * numbers - most
        planes = [np.packbits((numbers >> plane) & 1).view(np.uint64) for plane in range(bits)]
        return cls(np.stack(planes)[:, :, None], float(query @ odd / (odd @ odd)))


class ProductCounter:
    """Multiplies a query with codes. Each thread needs its own, since it has memory for intermediate results."""

    def __init__(self, query: QueryCode) -> None:
        self._query = query
        planes, words, _ = query.planes.shape
        self._rows = rows_at_once(planes * words)
        self._differing = np.empty((planes, words, self._rows), np.uint64)
        self._counts = np.empty((planes, words, self._rows), np.uint8)
        self._sums = np.empty((planes, self._rows), np.float32)
        values = query.step * 2.0 ** np.arange(planes)
        self._weights = np.asarray(-2 * values, np.float32)
        self._most = np.float32(values.sum() * words * WORD_BITS)

    def products(self, codes: Codes, out: Scores) -> None:
        """Write the product of the query with the signs of each row: (words, n) codes → (n,) float32."""
        for start in range(0, len(out), self._rows):
            rows = slice(start, start + self._rows)
            self._write(codes[:, rows], out[rows])

    def _write(self, codes: Codes, out: Scores) -> None:
        rows = slice(0, len(out))
        differing, counts, sums = self._differing[:, :, rows], self._counts[:, :, rows], self._sums[:, rows]
        np.bitwise_xor(codes, self._query.planes, out=differing)
        np.bitwise_count(differing, out=counts)
        np.copyto(sums, np.add.reduce(counts, axis=1, dtype=np.uint16))
        # Not a matrix product: BLAS starts threads for so few numbers.
        np.einsum("p,pn->n", self._weights, sums, out=out)
        out += self._most
