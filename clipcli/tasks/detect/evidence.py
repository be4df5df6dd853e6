"""Boxes from the scores of overlapping windows: where the windows that show a label lie over each other.

Each cell of a grid over the picture gets the mean score of the windows that cover it; a small window weighs more, since
it says more exactly where. Cells that are joined to the highest one, and nearly as high, make a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.tasks.detect.answers import Answers
from clipcli.tasks.detect.windows import overlaps, suppress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.core.vectors import Scores
    from clipcli.tasks.detect.windows import Boxes

_CELLS: Final = 80
"""Along the longer edge."""
_EDGE: Final = 0.55
"""Of a peak: cells that reach it belong to the same thing."""
_PEAK: Final = 0.65
"""Of the highest peak of the label: lower ones are no second thing."""
_NEAR: Final = 0.3
"""Intersection over union with a window from which on its score counts for a box."""
_MOST: Final = 20
"""Things of one label in a picture."""
_OVERLAP: Final = 0.2
"""Intersection over union of two boxes that may both stay. The constants were chosen on composed pictures
(benchmarks/bench_detect.py, another seed)."""


@dataclass(frozen=True)
class WindowGrid:
    """The windows that cover each cell of a picture."""

    width: int
    height: int
    cell: float
    """Pixels of a cell's side."""
    weights: npt.NDArray[np.float32]
    """(windows, rows, columns): the windows' weights where they cover a cell's centre, else 0."""

    @classmethod
    def of(cls, boxes: Boxes, width: int, height: int) -> WindowGrid:
        """Lay windows (n, 4) over a picture."""
        cell = max(width, height) / min(_CELLS, max(width, height))
        x, y = (np.arange(cell / 2, length, cell) for length in (width, height))
        across = (x >= boxes[:, :1]) & (x < boxes[:, 2:3])
        down = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:])
        sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.float64)
        small = (sizes.min() / sizes).astype(np.float32)
        return cls(width, height, cell, (down[:, :, None] & across[:, None, :]) * small[:, None, None])

    def mean(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(windows,) scores → (rows, columns)."""
        total = np.tensordot(scores, self.weights, axes=1)
        return np.asarray(total / np.maximum(self.weights.sum(axis=0), np.float32(1e-12)), np.float32)

    def box(self, cells: npt.NDArray[np.bool_]) -> list[int]:
        """Return what encloses cells, in pixels: x0, y0, x1, y1."""
        rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
        low = [int(columns[0] * self.cell), int(rows[0] * self.cell)]
        high = [round((columns[-1] + 1) * self.cell), round((rows[-1] + 1) * self.cell)]
        return [*low, min(high[0], self.width), min(high[1], self.height)]


def boxes_of_windows(
    windows: Boxes, scores: Scores, size: tuple[int, int], threshold: float, *, multi_label: bool = False
) -> Answers:
    """Find the boxes of each label, the best first.

    Args:
        windows: (n, 4), which cover the picture.
        scores: (n, labels), from 0 to 1.
        size: width and height of the picture.
        threshold: a box whose best window scores below it is left out.
        multi_label: whether boxes of two labels may show the same thing.
    """
    grid = WindowGrid.of(windows, *size)
    found = [
        (box, number, score)
        for number in range(scores.shape[1])
        for box, score in _boxes_of_label(grid, windows, scores[:, number])
        if score >= threshold
    ]
    boxes = np.array([box for box, _, _ in found], np.int64).reshape(-1, 4)
    labels = np.array([number for _, number, _ in found], np.int64)
    best = np.array([score for _, _, score in found], np.float32)
    kept = np.arange(len(found)) if multi_label else np.array(suppress(boxes, best, _OVERLAP), np.int64)
    return Answers(boxes[kept], labels[kept], best[kept]).sorted()


def _boxes_of_label(
    grid: WindowGrid, windows: Boxes, scores: npt.NDArray[np.float32]
) -> Iterator[tuple[list[int], float]]:
    """Yield boxes, each with the score of the best window that lies about there."""
    evidence = grid.mean(scores)
    highest = float(evidence.max())
    for _ in range(_MOST):
        peak = divmod(int(evidence.argmax()), evidence.shape[1])
        if evidence[peak] <= 0 or evidence[peak] < _PEAK * highest:
            return
        cells = joined(evidence >= _EDGE * evidence[peak], peak)
        evidence = np.where(cells, 0, evidence)
        box = grid.box(cells)
        near = overlaps(np.array(box), windows)[0] > _NEAR
        if near.any():
            yield box, float(scores[near].max())


def joined(cells: npt.NDArray[np.bool_], start: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the cells that are joined to a first one by their edges."""
    reached = np.zeros_like(cells)
    reached[start] = True
    count = 0
    while count < (count := int(reached.sum())):
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        reached = grown & cells
    return reached
