"""What the search asks of an accelerator: which rows of a block may be among the best, by float32 products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from clipcli.vectors import Scores, Vectors


@dataclass(frozen=True)
class Asked:
    """Queries over one block."""

    queries: Vectors
    """(queries, dim) float32, unit length."""
    block: Vectors
    """(rows, dim) float32, unit length."""
    limits: Scores
    """(queries,): what a product has to reach, less `error`."""
    error: float
    """The most by which a float32 product can be off."""
    top: int | None
    """How many rows a query has to find in this block at most; None where `limits` say enough."""
    allowed: npt.NDArray[np.bool_] | None
    """(rows,): rows that count at all; None is all of them."""
    hidden: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    """Queries and rows of the block that do not go together, pair by pair."""


@dataclass(frozen=True)
class Proposed:
    """Every pair that may count, and perhaps some more."""

    queries: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    """Of the block, pair by pair with `queries`."""
    first: Scores
    """(rows,): products of the first query, before anything was left out."""


Kernel: TypeAlias = Callable[[Asked], "Proposed | None"]
"""None says that it cannot go on: the CPU takes this block and all after it."""
