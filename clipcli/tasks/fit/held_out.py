"""Choose a head's strength, compare it with the texts alone, and calibrate it, by cross-validation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.tasks.calibrate import Interval, Samples, fit_temperature, folds, loss, proportion
from clipcli.tasks.fit.heads import Novelty, measure_novelty
from clipcli.tasks.fit.methods import METHODS

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.fit.heads import Examples, FewShotHead
    from clipcli.tasks.fit.methods import Method

    Flags = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

_INNER_FOLDS: Final = 3
_TEMPERATURES: Final = np.geomspace(0.05, 20.0, 13)
_SURE: Final = 0.05
"""Significance level of the sign test."""
_VERY_SURE: Final = 0.01
"""Significance level of the test on log losses, which can fall while the answers stay the same."""
_RESAMPLES: Final = 2000
_FEWEST: Final = 10
"""Least number of examples for the z test."""
_PAIR: Final = 2
"""Least number of pictures of a label for one of them to be held out."""


@dataclass(frozen=True)
class Comparison:
    """A head and the texts alone, on the same held-out examples."""

    truth: npt.NDArray[np.int64]
    """(examples,): index of the right label."""
    head: Flags
    """(examples,): True if the head was right."""
    zero_shot: Flags
    """(examples,): True if the texts alone were right."""
    gain: Interval
    """The head's accuracy minus that of the texts, with its 95 % bootstrap interval over pairs."""
    chance: float
    """p-value of the gain in right answers: the sign test over pairs that differ."""
    loss_chance: float
    """p-value of the gain in the probability of the right answer, after calibration of both: the paired z test over log
    losses. With few examples it is more sensitive than counts of right answers."""

    @property
    def helps(self) -> bool:
        """Return whether the head gives more right answers, significantly by one of the two tests."""
        return self.gain.value > 0 and (self.chance < _SURE or self.loss_chance < _VERY_SURE)


@dataclass(frozen=True)
class Fit:
    """A head that is ready for use."""

    head: FewShotHead
    """The softmax of its logits is calibrated."""
    novelty: Novelty
    """Detects images of none of the labels."""
    comparison: Comparison | None
    """None if no label has two pictures, so that none could be held out."""


def fit_head(examples: Examples, strangers: Vectors, method: str, *, seed: int = 0) -> Fit:
    """Learn from all examples; strength, temperature and figures come from held-out examples.

    Args:
        examples: at least one, with two labels or more.
        strangers: (n, dim) unit vectors of pictures of none of the labels; may be empty.
        method: a name of `METHODS`.
        seed: seed of the folds and intervals.
    """
    learn, generator = METHODS[method], np.random.default_rng(seed)
    can_hold = _pairs(examples)
    logits = np.zeros((len(examples.truth), len(examples.texts)))
    for held in _held_out(examples, generator, can_hold):
        logits[held] = _best(learn, examples.subset(~held), generator).logits(examples.vectors[held])
    head = _best(learn, examples, generator)
    novelty = measure_novelty(examples, strangers, list(_held_out(examples, generator, can_hold)))
    if not can_hold.any():
        return Fit(head, novelty, None)
    head_samples = Samples(logits[can_hold], examples.truth[can_hold], "softmax")
    texts = Samples(examples.zero_shot()[can_hold].astype(np.float64), head_samples.truth, "softmax")
    return Fit(head.cooled(fit_temperature(head_samples)), novelty, compare(head_samples, texts, generator))


def compare(learnt: Samples, texts: Samples, generator: np.random.Generator) -> Comparison:
    """Compare the logits of a head with those of the texts alone, on the same examples."""
    from scipy.stats import binomtest

    truth = learnt.truth
    head, zero_shot = learnt.logits.argmax(axis=1) == truth, texts.logits.argmax(axis=1) == truth
    better, worse = int((head & ~zero_shot).sum()), int((zero_shot & ~head).sum())
    total = len(truth)
    drawn = generator.multinomial(total, np.array([better, worse, total - better - worse]) / total, _RESAMPLES)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / total, (2.5, 97.5))
    chance = binomtest(better, better + worse, alternative="greater").pvalue if better + worse else 1.0
    gain = Interval((better - worse) / total, float(low), float(high))
    return Comparison(truth, head, zero_shot, gain, float(chance), _loss_chance(_losses(texts) - _losses(learnt)))


def _losses(samples: Samples) -> Floats:
    """Return (examples,) negative log likelihoods of the right label, at the best temperature."""
    logits = samples.logits / fit_temperature(samples)
    top = logits.max(axis=1)
    total = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    return np.asarray(total - logits[np.arange(len(samples.truth)), samples.truth])


def _loss_chance(gains: Floats) -> float:
    """Return the one-sided p-value of a mean gain above 0; 1 with too few examples."""
    if len(gains) < _FEWEST or gains.std() == 0.0:
        return 1.0
    return 0.5 * math.erfc(float(gains.mean() / gains.std(ddof=1)) * math.sqrt(len(gains) / 2.0))


def share(right: Flags, generator: np.random.Generator) -> Interval | None:
    """Return the share that is right, with its interval; None without examples."""
    return proportion(int(right.sum()), int((~right).sum()), 0, generator)


def _best(learn: Method, examples: Examples, generator: np.random.Generator) -> FewShotHead:
    """Return the head whose strength has the least loss on held-out examples, each at its best temperature."""
    heads = list(learn.heads(examples))
    can_hold = _pairs(examples)
    if not can_hold.any():
        return heads[learn.default]
    logits = np.zeros((len(heads), len(examples.truth), len(examples.texts)), np.float32)
    for held in _held_out(examples, generator, can_hold, _INNER_FOLDS):
        for number, head in enumerate(learn.heads(examples.subset(~held))):
            logits[number, held] = head.logits(examples.vectors[held])
    losses = [_cooled_loss(values[can_hold].astype(np.float64), examples.truth[can_hold]) for values in logits]
    return heads[int(np.argmin(losses))]


def _cooled_loss(logits: Floats, truth: npt.NDArray[np.int64]) -> float:
    doubt = 1.0 / (len(truth) + 2.0)  # label smoothing, as in calibrate.fit_temperature
    return min(loss(Samples(logits / cool, truth, "softmax"), doubt) for cool in _TEMPERATURES)


def _pairs(examples: Examples) -> Flags:
    """Return a mask (examples,) of examples whose label has another picture too."""
    return np.asarray(np.bincount(examples.truth, minlength=len(examples.texts))[examples.truth] >= _PAIR)


def _held_out(examples: Examples, generator: np.random.Generator, can_hold: Flags, count: int = 5) -> list[Flags]:
    """Return masks of held-out examples: each once if its label has several, never all of a label at once."""
    chosen = np.flatnonzero(can_hold)
    masks = []
    for fold in folds(examples.truth[chosen], generator, count) if len(chosen) else ():
        mask = np.zeros(len(examples.truth), bool)
        mask[chosen[fold]] = True
        masks.append(mask)
    return masks
