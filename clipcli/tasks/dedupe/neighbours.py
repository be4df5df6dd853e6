"""Who may match whom. Rows with more partners than were kept are asked again, in full, when it matters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.tasks.dedupe.pairs import Pairs
    from clipcli.tasks.dedupe.sources import Indices, Source

_SCANS: Final = 2000
"""Full looks at all rows that one run may cost: 2,000 × 100,000 × 512 are two minutes of one core."""
_ROWS_AT_ONCE: Final = 65_536


@dataclass
class Neighbours:
    """Partners of each row of a set joined with itself, from both sides of each pair."""

    source: Source
    threshold: float
    pairs: Pairs
    scans_left: int = _SCANS
    cut: int = 0
    """Crowded rows that were answered from their shortened lists, because too many asked."""
    _starts: Indices = field(init=False)
    _partners: Indices = field(init=False)
    _cosines: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        rows = np.concatenate([self.pairs.first, self.pairs.second])
        partners = np.concatenate([self.pairs.second, self.pairs.first])
        order = np.lexsort((partners, rows))
        self._partners = partners[order]
        self._cosines = np.tile(self.pairs.cosine, 2)[order]
        self._starts = np.searchsorted(rows[order], np.arange(len(self.source) + 1))

    def of(self, row: int) -> tuple[Indices, npt.NDArray[np.float32]]:
        """All partners of a row and their cosines, by number."""
        if self.pairs.crowded[row]:
            if self.scans_left:
                self.scans_left -= 1
                return self._scan(row)
            self.cut += 1
        some = slice(self._starts[row], self._starts[row + 1])
        return self._partners[some], self._cosines[some]

    def _scan(self, row: int) -> tuple[Indices, npt.NDArray[np.float32]]:
        vector = self.source.take(np.array([row]))[0]
        rows, cosines = [], []
        for start in range(0, len(self.source), _ROWS_AT_ONCE):
            found = self.source.block(start, start + _ROWS_AT_ONCE) @ vector
            hits = np.flatnonzero(found >= self.threshold)
            rows.append(hits + start)
            cosines.append(found[hits])
        every, cosine = np.concatenate(rows), np.concatenate(cosines)
        others = every != row
        return every[others], cosine[others]
