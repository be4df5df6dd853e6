"""Measure novelty: the distance of a vector from the pictures of all labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.core.vectors import unit_length
from clipcli.tasks.calibrate import Goal, best_cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from clipcli.core.vectors import Scores, Vector, Vectors
    from clipcli.tasks.fit.methods import Examples

REFUSED: Final = 0.05
"""The share of held-out pictures of the labels that is taken for none of them, where no strangers teach more."""


@dataclass(frozen=True)
class Novelty:
    """The centres of the labels' pictures, relative to the mean of all pictures."""

    middle: Vector
    """(dim,)."""
    centres: Vectors
    """(labels, dim), unit length; zeros for a label without pictures."""
    limit: float | None
    """The likeness below which a picture is none of them; None where nothing could be held out to find it."""

    def likeness(self, images: Vectors) -> Scores:
        """(images, dim), unit length → (images, labels): cosines with the centres, seen from the middle."""
        return np.asarray(unit_length(images - self.middle) @ self.centres.T, np.float32)


def measure_novelty(examples: Examples, strangers: Vectors, held_out: Sequence[npt.NDArray[np.bool_]]) -> Novelty:
    """Find the centres, and the limit on examples that were held out."""
    whole = _centres(examples)
    if not held_out:
        return whole
    known = np.concatenate(
        [_centres(examples.some(~held)).likeness(examples.vectors[held]).max(axis=1) for held in held_out]
    ).astype(np.float64)
    if len(strangers):
        foreign = whole.likeness(strangers).max(axis=1).astype(np.float64)
        scores = np.concatenate([known, foreign])
        right = np.arange(len(scores)) < len(known)
        limit = best_cut(scores, right, len(known), -1.0, Goal("decisions")).threshold
    else:
        limit = float(np.quantile(known, REFUSED))
    return Novelty(whole.middle, whole.centres, limit)


def _centres(examples: Examples) -> Novelty:
    labels = len(examples.texts)
    counts = np.bincount(examples.truth, minlength=labels)
    sums = np.zeros((labels, examples.vectors.shape[1]))
    np.add.at(sums, examples.truth, examples.vectors)
    means = sums / np.maximum(counts, 1)[:, None]
    middle = means[counts > 0].mean(axis=0)
    centres = np.where((counts > 0)[:, None], means - middle, 0.0)
    return Novelty(middle.astype(np.float32), unit_length(centres), None)
