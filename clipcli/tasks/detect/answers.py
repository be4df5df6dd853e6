"""Convert the outputs of a detection model to boxes with labels, in pixels of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.vectors import Scores
    from clipcli.tasks.detect.windows import Boxes


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
        """Return them by score; equal ones stay in their order."""
        order = np.argsort(-self.scores, kind="stable")
        return Answers(self.boxes[order], self.labels[order], self.scores[order])


def corners(boxes: npt.NDArray[np.floating], unit: Sequence[float]) -> npt.NDArray[np.float64]:
    """(n, 4) centre x, centre y, width, height as fractions → (n, 4) x0, y0, x1, y1 in pixels.

    Args:
        boxes: fractions.
        unit: how many pixels 1 is, across and down. Of a picture that a model padded to a square this is its longer
            edge both times, and not its width and height.
    """
    wide = boxes.astype(np.float64)
    centre, half = wide[:, :2], wide[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1) * np.tile(np.asarray(unit, np.float64), 2)


def best_label_each(boxes: npt.NDArray[np.floating], scores: Scores, threshold: float) -> Answers:
    """Give each box the label of its highest score, if that is above the threshold, as the models' makers do.

    Args:
        boxes: (n, 4).
        scores: (n, labels).
        threshold: a score.
    """
    labels = scores.argmax(axis=1)
    best = scores.max(axis=1)
    kept = best > threshold
    return Answers(boxes[kept], labels[kept], best[kept]).sorted()


def every_label(boxes: npt.NDArray[np.floating], scores: Scores, threshold: float) -> Answers:
    """Give each box every label whose own score is above the threshold, label by label; see `best_label_each`."""
    labels, rows = np.nonzero(threshold < scores.T)
    return Answers(boxes[rows], labels, scores[rows, labels]).sorted()


def whole_pixels(answers: Answers, width: int, height: int) -> Answers:
    """Return the boxes within a picture of this size, in whole pixels; those outside of it are left out."""
    rounded = np.rint(answers.boxes).astype(np.int64)
    low, high = rounded[:, :2], rounded[:, 2:]
    high = np.maximum(high, low + 1)  # what is thinner than a pixel is a pixel
    edges = np.array([width, height])
    inside = np.concatenate([np.clip(low, 0, edges), np.clip(high, 0, edges)], axis=1)
    kept = (inside[:, 2:] > inside[:, :2]).all(axis=1)
    return Answers(inside[kept], answers.labels[kept], answers.scores[kept])
