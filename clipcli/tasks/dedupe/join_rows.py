"""Rows that a join multiplies block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from clipcli.core.vectors import Vectors

Indices: TypeAlias = npt.NDArray[np.int64]
"""(n,) int64, numbers of rows."""
Bits: TypeAlias = npt.NDArray[np.uint8]
"""(n, bytes) uint8, eight bits each."""


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
        """Return a view where all rows are taken."""
        return self.vectors[start:stop] if self.rows is None else self.vectors[self.rows[start:stop]]

    def take(self, rows: Indices) -> Vectors:
        """Gathered rows."""
        return self.vectors[rows if self.rows is None else self.rows[rows]]
