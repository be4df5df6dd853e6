"""Boxes with labels: from the outputs of a detection model, or from the scores of overlapping windows.

For windows, each cell of a grid over the picture gets the mean score of the windows that cover it; small windows weigh
more, since they are more precise. A box encloses the highest cell and the cells connected to it that score nearly as
high.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.vectors import Scores

Boxes: TypeAlias = npt.NDArray[np.int64]
"""(n, 4): x0, y0, x1, y1 in pixels; x1 and y1 are not part of the box."""
_SHARES: Final = (1.0, 0.8, 0.6, 0.45, 0.34, 0.25)
"""Sides of the square windows, as shares of the shorter edge."""
_SMALLEST: Final = 16
_STEPS_A_WINDOW: Final = 2
OVERLAP: Final = 0.3
"""Intersection over union above which two boxes of a label show the same object."""
_CONTAINED: Final = 0.7
"""Intersection over the smaller box above which two boxes show the same object: one is a part of it."""


def propose_windows(width: int, height: int) -> Boxes:
    """Return square windows of six sizes that overlap by half and reach every edge, the largest first."""
    boxes: dict[tuple[int, int, int, int], None] = {(0, 0, width, height): None}
    shorter = min(width, height)
    for share in _SHARES:
        side = min(max(round(share * shorter), _SMALLEST), shorter)
        for y in _starts(height, side):
            for x in _starts(width, side):
                boxes[x, y, x + side, y + side] = None
    return np.array(list(boxes), np.int64)


def _starts(length: int, side: int) -> list[int]:
    """Return the evenly spaced starts of windows along an edge."""
    count = 1 + -(-(length - side) * _STEPS_A_WINDOW // side)
    return [round(at) for at in np.linspace(0, length - side, count)]


def suppress(boxes: Boxes, scores: Scores, overlap: float = OVERLAP) -> list[int]:
    """Return the indices of the boxes that stay, the best first: each removes those of lower score that overlap it.

    Args:
        boxes: (n, 4).
        scores: (n,), of one label.
        overlap: largest intersection over union of two boxes that stay.
    """
    order = np.lexsort((np.arange(len(scores)), -scores))
    kept: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        union, smaller = overlaps(boxes[best], boxes[order])
        order = order[(union <= overlap) & (smaller <= _CONTAINED)]
    return kept


def overlaps(box: npt.NDArray[np.int64], others: Boxes) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (n,) intersections over union of a box with others, and (n,) intersections over the smaller box."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1).astype(np.float64)
    area, areas = float((box[2:] - box[:2]).prod()), (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / np.maximum(area + areas - shared, 1), shared / np.maximum(np.minimum(area, areas), 1)


@dataclass(frozen=True)
class Answers:
    """Boxes that have a label, the best first."""

    boxes: npt.NDArray[np.floating] | Boxes
    """(n, 4): x0, y0, x1, y1."""
    labels: npt.NDArray[np.int64]
    """(n,): the number of each box's label."""
    scores: npt.NDArray[np.float32]
    """(n,), from 0 to 1."""

    def sorted(self) -> Answers:
        """Return the boxes by decreasing score; equal ones keep their order."""
        order = np.argsort(-self.scores, kind="stable")
        return Answers(self.boxes[order], self.labels[order], self.scores[order])


def corners(boxes: npt.NDArray[np.floating], unit: Sequence[float]) -> npt.NDArray[np.float64]:
    """Convert (n, 4) centre x, centre y, width, height as fractions to (n, 4) x0, y0, x1, y1 in pixels.

    Args:
        boxes: fractions.
        unit: pixels of the fraction 1, across and down: for a picture that a model padded to a square, its longer edge
            in both directions.
    """
    wide = boxes.astype(np.float64)
    centre, half = wide[:, :2], wide[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1) * np.tile(np.asarray(unit, np.float64), 2)


def best_label_each(boxes: npt.NDArray[np.floating], scores: Scores, threshold: float) -> Answers:
    """Give each box the label of its highest score, if that is above the threshold, as the models' own code does.

    Args:
        boxes: (n, 4).
        scores: (n, labels).
        threshold: a score.
    """
    labels = scores.argmax(axis=1)
    best = scores.max(axis=1)
    passes = best > threshold
    return Answers(boxes[passes], labels[passes], best[passes]).sorted()


def every_label(boxes: npt.NDArray[np.floating], scores: Scores, threshold: float) -> Answers:
    """Give each box every label whose own score is above the threshold, label by label; see `best_label_each`."""
    labels, rows = np.nonzero(threshold < scores.T)
    return Answers(boxes[rows], labels, scores[rows, labels]).sorted()


def whole_pixels(answers: Answers, width: int, height: int) -> Answers:
    """Return the boxes within a picture of this size, in whole pixels; those outside of it are left out."""
    rounded = np.rint(answers.boxes).astype(np.int64)
    low, high = rounded[:, :2], rounded[:, 2:]
    high = np.maximum(high, low + 1)  # at least one pixel wide and high
    edges = np.array([width, height])
    inside = np.concatenate([np.clip(low, 0, edges), np.clip(high, 0, edges)], axis=1)
    is_inside = (inside[:, 2:] > inside[:, :2]).all(axis=1)
    return Answers(inside[is_inside], answers.labels[is_inside], answers.scores[is_inside])


_CELLS: Final = 80
"""Cells along the longer edge."""
_EDGE: Final = 0.55
"""Share of a peak's score that the cells of its object reach."""
_PEAK: Final = 0.65
"""Share of the label's highest peak that other peaks must reach to be objects."""
_NEAR: Final = 0.3
"""Least intersection over union of a box with windows that give it their score."""
_MOST: Final = 20
"""Largest number of objects of one label in a picture."""
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
        """Make the grid of a picture from its windows (n, 4)."""
        cell = max(width, height) / min(_CELLS, max(width, height))
        x, y = (np.arange(cell / 2, length, cell) for length in (width, height))
        across = (x >= boxes[:, :1]) & (x < boxes[:, 2:3])
        down = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:])
        sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.float64)
        small = (sizes.min() / sizes).astype(np.float32)
        return cls(width, height, cell, (down[:, :, None] & across[:, None, :]) * small[:, None, None])

    def mean(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the weighted mean (rows, columns) of the windows' scores (windows,)."""
        total = np.tensordot(scores, self.weights, axes=1)
        return np.asarray(total / np.maximum(self.weights.sum(axis=0), np.float32(1e-12)), np.float32)

    def box(self, cells: npt.NDArray[np.bool_]) -> list[int]:
        """Return the box that encloses the cells, in pixels: x0, y0, x1, y1."""
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
        multi_label: True if boxes of two labels may show the same object.
    """
    grid = WindowGrid.of(windows, *size)
    candidates = [
        (box, number, score)
        for number in range(scores.shape[1])
        for box, score in _boxes_of_label(grid, windows, scores[:, number])
        if score >= threshold
    ]
    boxes = np.array([box for box, _, _ in candidates], np.int64).reshape(-1, 4)
    labels = np.array([number for _, number, _ in candidates], np.int64)
    best = np.array([score for _, _, score in candidates], np.float32)
    kept = np.arange(len(candidates)) if multi_label else np.array(suppress(boxes, best, _OVERLAP), np.int64)
    return Answers(boxes[kept], labels[kept], best[kept]).sorted()


def _boxes_of_label(
    grid: WindowGrid, windows: Boxes, scores: npt.NDArray[np.float32]
) -> Iterator[tuple[list[int], float]]:
    """Yield boxes, each with the score of the best window that overlaps it enough."""
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
    """Return the connected component (by edges) of `start` among the cells."""
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
