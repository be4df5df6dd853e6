"""Rows that would give wrong answers in silence are refused by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clipcli.tasks.scanning import Block
    from clipcli.tasks.search import Rows
    from clipcli.vectors import Scores, Vectors

_LENGTH_TOLERANCE = 0.02


class UnusableRowError(ValueError):
    """A row that would give wrong answers in silence: `row` is its number, `reason` what it is."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row} {reason}")
        self.row = row
        self.reason = reason


def refuse_unusable(products: Scores, start: int, block: Block) -> None:
    """One query's products tell: a number that is not finite spreads to them, and a zero row makes a zero."""
    finite = np.isfinite(products)
    if not finite.all():
        raise UnusableRowError(start + int(finite.argmin()), "holds a number that is not finite")
    for place in np.flatnonzero(products == 0).tolist():
        if not block[place].any():
            raise UnusableRowError(start + place, "is zero")


def refuse_lengths(vectors: Vectors, rows: Rows) -> None:
    """Rows among the best must be as long as cosines take them to be; `rows` are their numbers."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    wrong = np.abs(lengths - 1) > _LENGTH_TOLERANCE
    if wrong.any():
        raise UnusableRowError(int(rows[wrong.argmax()]), "is not of unit length")
