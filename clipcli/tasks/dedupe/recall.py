"""How much of the true pairs cells hold, and how many of them have to be opened for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.tasks.dedupe.join import join_sets
from clipcli.tasks.dedupe.sources import VectorSource
from clipcli.vectors import unit_length

if TYPE_CHECKING:
    from clipcli.tasks.dedupe.cells import Cells
    from clipcli.tasks.dedupe.sources import Indices, Source
    from clipcli.vectors import Vectors

_SAMPLE_ROWS: Final = 2048
_FEW: Final = 400
"""True pairs in the sample below which made ones are measured as well."""
_ENOUGH: Final = 0.995
_ENOUGH_MADE: Final = 0.99
"""The made ones are the hardest there can be: at the threshold itself."""
_LEAST, _MOST = 4, 128
"""Cells that a row looks into."""
_ROWS_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class Recall:
    """What a brute-force look at some rows found, and how much of it the cells that are opened hold."""

    rows: int
    true_pairs: int
    found_pairs: int
    probes: int
    """Cells that each row looks into."""
    cells: int
    made_pairs: int = 0
    """Where true pairs are few: rows moved until they have just the threshold's cosine with themselves."""
    made_found: int = 0

    @property
    def share(self) -> float:
        """Found of true; 1 when there was nothing to find."""
        return self.found_pairs / self.true_pairs if self.true_pairs else 1.0

    def __str__(self) -> str:
        """For the user."""
        text = f"{self.share:.1%} of {self.true_pairs:,} pairs found in a sample of {self.rows:,}"
        if self.made_pairs:
            text += f", and {self.made_found / self.made_pairs:.1%} of {self.made_pairs:,} made at the threshold"
        return text


def sample_of(total: int) -> Indices:
    """Numbers of rows spread evenly over all."""
    return np.unique(np.linspace(0, total - 1, min(total, _SAMPLE_ROWS)).astype(np.int64))


def tune(cells: Cells, source: Source, threshold: float, sample: Vectors, own: Indices | None) -> Recall:
    """Open cells until the first half of the sample's pairs are found; measure on the second."""
    true = join_sets(VectorSource(sample), source, threshold)
    first, second = true.first, true.second
    if own is not None:
        others = own[first] != second
        first, second = first[others], second[others]
    ranks = _ranks(cells, sample[first], cells.cell[second])
    if own is not None:
        ranks = np.minimum(ranks, _ranks_of(cells, source, second, cells.cell[own[first]]))
    choosing = first % 2 == 0
    made = made_choosing = np.zeros(0, np.int64)
    if len(first) < _FEW:
        made = _made_ranks(cells, source, threshold, both=own is not None)
        made, made_choosing = made[1::2], made[::2]
    enough = max(_needed(ranks[choosing], _ENOUGH), _needed(made_choosing, _ENOUGH_MADE))
    probes = min(len(cells), max(_LEAST, min(enough, _MOST)))
    rows, held = len(sample) // 2, ~choosing
    return Recall(rows, int(held.sum()), int((ranks[held] < probes).sum()), probes, len(cells),
                  len(made), int((made < probes).sum()))  # fmt: skip


def _needed(ranks: Indices, share: float) -> int:
    """Cells to open so that this share of wanted cells is among them; 0 where nothing is wanted."""
    return int(np.quantile(ranks, share, method="higher")) + 1 if len(ranks) else 0


def _made_ranks(cells: Cells, source: Source, threshold: float, *, both: bool) -> Indices:
    """Rows of the set, each moved towards another one until its cosine with itself is the threshold."""
    rows = sample_of(len(source))
    here = source.take(rows)
    away = np.roll(here, len(here) // 3, axis=0)
    away = away - np.einsum("ij,ij->i", away, here)[:, None] * here
    keep = np.linalg.norm(away, axis=1) > 1e-3  # noqa: PLR2004 - the same vector leads nowhere
    rows, here, away = rows[keep], here[keep], unit_length(away[keep])
    moved = np.asarray(threshold * here + max(0.0, 1 - threshold**2) ** 0.5 * away, np.float32)
    ranks = _ranks(cells, moved, cells.cell[rows])
    if both and len(moved):
        ranks = np.minimum(ranks, _ranks(cells, here, (moved @ cells.centres.T).argmax(axis=1)))
    return ranks


def _ranks_of(cells: Cells, source: Source, rows: Indices, wanted: Indices) -> Indices:
    pieces = [
        _ranks(cells, source.take(rows[start : start + _ROWS_AT_ONCE]), wanted[start : start + _ROWS_AT_ONCE])
        for start in range(0, len(rows), _ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def _ranks(cells: Cells, vectors: Vectors, wanted: Indices) -> Indices:
    """(n,) how many cells are nearer to each vector than the one that is wanted of it."""
    ranks = np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        values = vectors[start : start + _ROWS_AT_ONCE] @ cells.centres.T
        value = np.take_along_axis(values, wanted[start : start + _ROWS_AT_ONCE, None], axis=1)
        ranks[start : start + len(values)] = (values > value).sum(axis=1)
    return ranks
