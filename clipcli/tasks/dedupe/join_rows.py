"""Rows that a join multiplies block by block, made float32 only when their block is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from clipcli.core.vectors import Vectors

Indices: TypeAlias = npt.NDArray[np.int64]
"""(n,) int64, numbers of rows."""
Bits: TypeAlias = npt.NDArray[np.uint8]
"""(n, bytes) uint8, eight bits each."""

HASH_BITS: Final = 256


class RowSource(Protocol):
    """n rows of unit length."""

    @property
    def dim(self) -> int:
        """Numbers in a row."""
        ...

    def __len__(self) -> int:
        """Rows."""
        ...

    def block(self, start: int, stop: int) -> Vectors:
        """Rows start … stop - 1 as (≤ stop - start, dim) float32."""
        ...

    def take(self, rows: Indices) -> Vectors:
        """Some rows, (len(rows), dim) float32."""
        ...


@dataclass(frozen=True)
class VectorSource:
    """Embeddings, all of them or a selection that is gathered as it is needed: a copy would double the memory."""

    vectors: Vectors
    rows: Indices | None = None

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors) if self.rows is None else len(self.rows)

    def block(self, start: int, stop: int) -> Vectors:
        """A view where all rows are taken."""
        return self.vectors[start:stop] if self.rows is None else self.vectors[self.rows[start:stop]]

    def take(self, rows: Indices) -> Vectors:
        """Gathered rows."""
        return self.vectors[rows if self.rows is None else self.rows[rows]]


@dataclass(frozen=True)
class HashSource:
    """Hashes of 256 bits as vectors of ±1/16, whose dot product is `1 - 2 × distance / 256`.

    So one join serves both, and a Hamming distance becomes a cosine: `cosine_of(distance)`.
    """

    bits: Bits

    @property
    def dim(self) -> int:
        """One number a bit."""
        return int(self.bits.shape[1]) * 8

    def __len__(self) -> int:
        return len(self.bits)

    def block(self, start: int, stop: int) -> Vectors:
        """Unpacked as ±1/16."""
        return _signs(self.bits[start:stop])

    def take(self, rows: Indices) -> Vectors:
        """Unpacked as ±1/16."""
        return _signs(self.bits[rows])


def cosine_of(distance: int) -> float:
    """The dot product of two hashes that differ in `distance` of 256 bits, less a little for rounding."""
    return 1 - 2 * distance / HASH_BITS - 1e-4


def _signs(bits: Bits) -> Vectors:
    rows = np.unpackbits(bits, axis=1).astype(np.float32)
    rows *= np.float32(2 / 16)
    rows -= np.float32(1 / 16)
    return rows
