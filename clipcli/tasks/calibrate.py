"""Calibrated scores: a temperature, and one threshold per label, from a few labelled images.

Temperature scaling and the expected calibration error are those of Guo et al., "On Calibration of Modern Neural
Networks", arXiv:1706.04599. Thresholds have a goal: F1, right decisions, or recall at a precision. Reported figures
are measured by cross-validation; the temperature and thresholds that are returned are fitted on all images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

RESAMPLES = 2000


Objective = Literal["f1", "decisions"]


@dataclass(frozen=True)
class Goal:
    """The objective of a threshold."""

    objective: Objective = "f1"
    """The best F1, or the most right decisions (right labels accepted, wrong ones refused)."""
    precision: float | None = None
    """If set, overrides the objective: the lowest threshold that reaches this precision."""


@dataclass(frozen=True)
class Threshold:
    """The least score with which a label is given."""

    threshold: float
    reached: bool = True
    """True if the target precision is reached on the images used for calibration."""


@dataclass(frozen=True)
class Interval:
    """A share, 0 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float


def best_threshold(
    scores: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    total: int,
    below: float,
    goal: Goal = Goal(),
) -> Threshold:
    """Return the best threshold for a goal; among equally good ones, the lowest.

    It lies halfway between the lowest accepted score and the next score below it.

    Args:
        scores: (n,) of the images that would get the label.
        right: (n,) True for those that should.
        total: number of all images that should get it.
        below: the best score of images that neither should nor would get the label; the next score below if all of
            `scores` are accepted.
        goal: the objective; if a target precision cannot be reached, the best possible precision is used.
    """
    if not right.any():
        return Threshold(1.0, reached=goal.precision is None)
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(right[order])
    counts = np.arange(1, len(ranked) + 1)
    possible = np.append(ranked[1:] < ranked[:-1], True)  # equal scores cannot be told apart
    precision = hits / counts
    quality = 2.0 * hits / (counts + total) if goal.objective == "f1" else 2.0 * hits - counts
    reached = True
    if goal.precision is not None:
        good = possible & (precision >= goal.precision)
        reached = bool(good.any())
        quality = np.where(good, counts, 0.0) if reached else precision
    quality = np.where(possible, quality, -np.inf)
    if goal.objective == "decisions" and goal.precision is None and quality.max() < 0:
        return Threshold((float(ranked[0]) + 1.0) / 2.0)
    last = len(quality) - 1 - int(np.argmax(quality[::-1]))
    lowest = float(ranked[last])
    following = float(ranked[last + 1]) if last + 1 < len(ranked) else min(below, lowest)
    return Threshold((lowest + following) / 2.0, reached)


def proportion(hits: int, misses: int, neither: int, generator: np.random.Generator) -> Interval | None:
    """Return `hits / (hits + misses)` among `hits + misses + neither` images, with its bootstrap interval.

    Resampling images with replacement is a draw from a multinomial distribution over the three counts. With no misses
    or no hits every resample is the same, so Wilson's interval is used instead: three of three right does not prove
    100 %.
    """
    if hits + misses == 0:
        return None
    value = hits / (hits + misses)
    if not hits or not misses:
        return Interval(value, *_wilson(hits, hits + misses))
    total = hits + misses + neither
    draws = generator.multinomial(total, [hits / total, misses / total, neither / total], RESAMPLES)
    sums = draws[:, 0] + draws[:, 1]
    shares = draws[:, 0][sums > 0] / sums[sums > 0]
    low, high = np.percentile(shares, (2.5, 97.5))
    return Interval(value, float(low), float(high))


def _wilson(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson, 1927)."""
    share, z2 = hits / count, _Z_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z_95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


Floats: TypeAlias = "npt.NDArray[np.float64]"
Flags: TypeAlias = "npt.NDArray[np.bool_]"
Numbers: TypeAlias = "npt.NDArray[np.int64]"
Head = Literal["softmax", "sigmoid"]

FOLDS = 5
BINS = 15
ENOUGH = 5
"""Least number of images for a label's own threshold; with fewer, it gets that of all labels together."""
_NONE = -1
_F1 = Goal()
_LOG_RANGE = (-4.0, 4.0)
"""Temperatures from 0.02 to 55."""
_LOG_TOLERANCE = 1e-6
_GOLDEN = (math.sqrt(5) - 1) / 2
_Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: 95 % lie between it and its negative."""


@dataclass(frozen=True)
class Samples:
    """A model's logits of labelled images."""

    logits: Floats
    """(images, labels)."""
    truth: Numbers
    """(images,): index of the right label, -1 if none of the labels is right."""
    head: Head
    multi_label: bool = False
    """True if labels are independent of each other; otherwise only the best label is given."""

    def subset(self, chosen: Flags) -> Samples:
        """Return the samples of the chosen images, a mask (images,)."""
        return Samples(self.logits[chosen], self.truth[chosen], self.head, self.multi_label)


@dataclass(frozen=True)
class Fitted:
    """The result of a calibration."""

    temperature: float
    thresholds: tuple[Threshold, ...]
    """One per label."""
    own: tuple[bool, ...]
    """True if the cut is from the label's own images, False if from those of all labels."""


@dataclass(frozen=True)
class LabelQuality:
    """Precision and recall of one label on held-out images."""

    images: int
    precision: Interval | None
    """None if the label was never given."""
    recall: Interval | None
    """None if the label has no images."""


@dataclass(frozen=True)
class Calibration:
    """The result of `calibrate`: temperature, thresholds and their quality."""

    fitted: Fitted
    labels: tuple[LabelQuality, ...]
    error_before: float
    """Expected calibration error at temperature 1, on all images."""
    error_after: float
    """Expected calibration error on held-out images."""
    loss_before: float
    """Mean negative log likelihood."""
    loss_after: float
    accuracy: float
    """Share of held-out images with the right decision: the right label, or rightly none."""
    held_out: Samples = field(compare=False)
    """All images, each with the temperature fitted without it."""


def calibrate(samples: Samples, goal: Goal = _F1, *, seed: int = 0) -> Calibration:
    """Fit temperature and thresholds, and measure them on held-out folds.

    Args:
        samples: at least two images.
        goal: the goal of the thresholds.
        seed: seed of the folds and the bootstrap; the same seed gives the same figures.
    """
    generator = np.random.default_rng(seed)
    cooled, accepted = np.empty_like(samples.logits), np.zeros(samples.logits.shape, bool)
    for held in folds(samples.truth, generator):
        fold = fit(samples.subset(~held), goal)
        cooled[held] = samples.logits[held] / fold.temperature
        accepted[held] = decide(
            probabilities(cooled[held], samples.head), fold.thresholds, multi_label=samples.multi_label
        )
    after = Samples(cooled, samples.truth, samples.head, samples.multi_label)
    right = _right(samples)
    qualities = tuple(_quality(accepted[:, i], right[:, i], generator) for i in range(right.shape[1]))
    return Calibration(
        fit(samples, goal), qualities, calibration_error(samples), calibration_error(after),
        loss(samples), loss(after), float((accepted == right).all(axis=1).mean()), after,
    )  # fmt: skip


def fit(samples: Samples, goal: Goal = _F1) -> Fitted:
    """Fit the temperature, then thresholds on the calibrated scores."""
    temperature = fit_temperature(samples)
    scores, right = probabilities(samples.logits / temperature, samples.head), _right(samples)
    proposed = _proposed(scores, multi_label=samples.multi_label)
    together = best_threshold(scores[proposed], right[proposed], int(right.sum()), 0.0, goal)
    thresholds, own = [], []
    for i in range(scores.shape[1]):
        enough = bool(right[:, i].sum() >= ENOUGH and (right[:, i] & proposed[:, i]).any())
        thresholds.append(_threshold_of(scores[:, i], right[:, i], proposed[:, i], goal) if enough else together)
        own.append(enough)
    return Fitted(temperature, tuple(thresholds), tuple(own))


def fit_temperature(samples: Samples) -> float:
    """Return the temperature of least loss; 1 if no image has a label. The loss has one minimum in 1 / temperature.

    Labels are smoothed, since perfectly separated images would otherwise give a temperature of 0: a share 1 / (n + 2)
    goes to the other labels, as in Platt, "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2.
    """
    known = samples if samples.head == "sigmoid" else samples.subset(samples.truth != _NONE)
    if not len(known.truth):
        return 1.0

    def at(log: float) -> float:
        cooled = Samples(known.logits / np.exp(log), known.truth, known.head, known.multi_label)
        return loss(cooled, doubt=1.0 / (len(known.truth) + 2.0))

    return float(np.exp(_lowest(at, *_LOG_RANGE)))


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the minimum of a unimodal function by golden-section search (Kiefer, 1953)."""
    inside = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [function(inside[0]), function(inside[1])]
    while high - low > _LOG_TOLERANCE:
        if values[0] < values[1]:
            high, inside[1], values[1] = inside[1], inside[0], values[0]
            inside[0] = high - _GOLDEN * (high - low)
            values[0] = function(inside[0])
        else:
            low, inside[0], values[0] = inside[0], inside[1], values[1]
            inside[1] = low + _GOLDEN * (high - low)
            values[1] = function(inside[1])
    return (low + high) / 2


def loss(samples: Samples, doubt: float = 0.0) -> float:
    """Return the mean negative log likelihood: of the right label, or for independent scores of each yes or no.

    `doubt` is the label smoothing: the share of probability that goes to the other answers.
    """
    if samples.head == "sigmoid":
        against = np.where(_right(samples), -samples.logits, samples.logits)
        return float((np.logaddexp(0.0, against) - doubt * against).mean())
    known = samples.truth != _NONE
    logits, truth = samples.logits[known], samples.truth[known]
    if not len(truth):
        return 0.0
    top = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    expected = (1.0 - doubt) * logits[np.arange(len(truth)), truth] + doubt * logits.mean(axis=1)
    return float((total - expected).mean())


def calibration_error(samples: Samples, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal width.

    It is measured on the best labels, or in multi-label samples on every label. A softmax assumes that one of the
    labels is right, so images without a right label are left out there.
    """
    confidence, correct = answers(samples)
    bin_of = bin_numbers(confidence, bins)
    gaps = np.bincount(bin_of, confidence - correct, bins)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))


def answers(samples: Samples) -> tuple[Floats, Flags]:
    """Return the scores that calibration is measured on, and whether each is right.

    These are the scores of the best labels (with a softmax only of images with a right label), or in multi-label
    samples of all labels.
    """
    if samples.head == "softmax":
        samples = samples.subset(samples.truth != _NONE)
    scores, right = probabilities(samples.logits, samples.head), _right(samples)
    chosen = np.ones_like(right) if samples.multi_label else _proposed(scores, multi_label=False)
    return scores[chosen], right[chosen]


def bin_numbers(confidence: Floats, bins: int = BINS) -> Numbers:
    """Return the index of each score's bin, among bins of equal width between 0 and 1."""
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def proposals(samples: Samples) -> tuple[Floats, Flags, Flags]:
    """Return three (images, labels) arrays: scores, right labels, and labels given unless below their threshold."""
    scores = probabilities(samples.logits, samples.head)
    return scores, _right(samples), _proposed(scores, multi_label=samples.multi_label)


def probabilities(logits: Floats, head: Head) -> Floats:
    """Return (images, labels) scores, as `classify` shows them."""
    if head == "sigmoid":
        return np.exp(-np.logaddexp(0.0, -logits))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def decide(scores: Floats, thresholds: tuple[Threshold, ...], *, multi_label: bool) -> Flags:
    """Return (images, labels): True for labels that are given."""
    limits = np.array([threshold.threshold for threshold in thresholds])
    return np.asarray(_proposed(scores, multi_label=multi_label) & (scores >= limits))


def folds(truth: Numbers, generator: np.random.Generator, count: int = FOLDS) -> Iterator[Flags]:
    """Yield a mask of held-out images per fold, stratified by label; each image is held out once."""
    order = generator.permutation(len(truth))
    order = order[np.argsort(truth[order], kind="stable")]
    number = np.empty(len(truth), np.int64)
    number[order] = np.arange(len(truth)) % min(count, len(truth))
    for fold in range(min(count, len(truth))):
        yield number == fold


def _right(samples: Samples) -> Flags:
    return np.asarray(samples.truth[:, None] == np.arange(samples.logits.shape[1]))


def _proposed(scores: Floats, *, multi_label: bool) -> Flags:
    """Return a mask of the labels that are given if they reach their threshold: all, or the best of each image."""
    if multi_label:
        return np.ones(scores.shape, bool)
    return np.asarray(scores.argmax(axis=1)[:, None] == np.arange(scores.shape[1]))


def _threshold_of(scores: Floats, right: Flags, proposed: Flags, goal: Goal) -> Threshold:
    wrong_scores = scores[~proposed & ~right]
    return best_threshold(
        scores[proposed], right[proposed], int(right.sum()), float(wrong_scores.max(initial=0.0)), goal
    )


def _quality(accepted: Flags, right: Flags, generator: np.random.Generator) -> LabelQuality:
    hits = int((accepted & right).sum())
    counts = (hits, int(accepted.sum()) - hits, int(right.sum()) - hits)
    neither = len(right) - sum(counts)
    return LabelQuality(
        int(right.sum()),
        proportion(hits, counts[1], neither + counts[2], generator),
        proportion(hits, counts[2], neither + counts[1], generator),
    )
