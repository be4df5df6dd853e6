"""Reliability and precision–recall curves of scores with known right labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipcli.tasks.calibrate import BINS, answers, bin_numbers, proposals

if TYPE_CHECKING:
    from clipcli.tasks.calibrate import Flags, Floats, Samples


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers whose scores lie in one interval."""

    confidence: float
    """Their mean score."""
    accuracy: float
    """The share of them that is right."""
    count: int


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall at every threshold, from the highest to the lowest."""

    thresholds: Floats
    """(n,), decreasing."""
    precision: Floats
    """(n,)."""
    recall: Floats
    """(n,), increasing."""

    @property
    def average(self) -> float:
        """Return the average precision: over the steps of recall, as in scikit-learn, without interpolation."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())


def reliability(samples: Samples, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return the bins of equal width that hold answers, as in Guo et al., arXiv:1706.04599, figure 1."""
    confidence, correct = answers(samples)
    bin_of = bin_numbers(confidence, bins)
    counts = np.bincount(bin_of, minlength=bins)
    scores, hits = np.bincount(bin_of, confidence, bins), np.bincount(bin_of, correct, bins)
    filled = np.flatnonzero(counts)
    return tuple(ReliabilityBin(scores[i] / counts[i], hits[i] / counts[i], int(counts[i])) for i in filled.tolist())


def label_curves(samples: Samples) -> tuple[PrecisionRecall | None, ...]:
    """Return a curve for each label, None for labels without images or answers.

    Without multi-label, an image is accepted for its best label or for none, so recall may end below 1.
    """
    scores, right, proposed = proposals(samples)
    return tuple(
        precision_recall(scores[proposed[:, i], i], right[proposed[:, i], i], int(right[:, i].sum()))
        for i in range(scores.shape[1])
    )


def overall_curve(samples: Samples) -> PrecisionRecall | None:
    """Return the curve of all labels together, with one threshold for all of them."""
    scores, right, proposed = proposals(samples)
    return precision_recall(scores[proposed], right[proposed], int(right.sum()))


def precision_recall(scores: Floats, right: Flags, total: int) -> PrecisionRecall | None:
    """Return precision and recall at every threshold; None without right labels or without scores.

    Args:
        scores: (n,) scores that a threshold accepts or refuses.
        right: (n,) True for right labels.
        total: number of right labels, including those without a score.
    """
    if not total or not len(scores):
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(right[order])
    possible = np.append(ranked[1:] < ranked[:-1], True)  # equal scores are accepted together
    accepted = np.arange(1, len(ranked) + 1)
    return PrecisionRecall(ranked[possible], (hits / accepted)[possible], (hits / total)[possible])
