"""Boxes without a detection model: windows of several sizes to look at, and the best of those that overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from clipcli.core.vectors import Scores

Boxes: TypeAlias = npt.NDArray[np.int64]
"""(n, 4): x0, y0, x1, y1 in pixels; x1 and y1 are not part of the box."""
_SHARES: Final = (1.0, 0.8, 0.6, 0.45, 0.34, 0.25)
"""Of the shorter edge: how large the square windows are."""
_SMALLEST: Final = 16
_STEPS_A_WINDOW: Final = 2
OVERLAP: Final = 0.3
"""Intersection over union from which on two boxes of a label show the same thing."""
_CONTAINED: Final = 0.7
"""The same of the intersection over the smaller box: a part of a thing is not a second one."""


def propose_windows(width: int, height: int) -> Boxes:
    """Square windows of six sizes that overlap by half and reach every edge, the largest first."""
    boxes: dict[tuple[int, int, int, int], None] = {(0, 0, width, height): None}
    shorter = min(width, height)
    for share in _SHARES:
        side = min(max(round(share * shorter), _SMALLEST), shorter)
        for y in _starts(height, side):
            for x in _starts(width, side):
                boxes[x, y, x + side, y + side] = None
    return np.array(list(boxes), np.int64)


def _starts(length: int, side: int) -> list[int]:
    """Return where windows begin along an edge, evenly spread."""
    count = 1 + -(-(length - side) * _STEPS_A_WINDOW // side)
    return [round(at) for at in np.linspace(0, length - side, count)]


def suppress(boxes: Boxes, scores: Scores, overlap: float = OVERLAP) -> list[int]:
    """Indices of the boxes that stay, the best first: each takes away those of lower score that overlap it.

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
    """(n,) intersection over union of a box with others, and intersection over the smaller of the two."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1).astype(np.float64)
    own, theirs = float((box[2:] - box[:2]).prod()), (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / np.maximum(own + theirs - shared, 1), shared / np.maximum(np.minimum(own, theirs), 1)
