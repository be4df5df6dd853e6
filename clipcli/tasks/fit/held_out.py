"""Choose a head's strength, measure it against the texts alone, and calibrate it, on examples that it did not see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.tasks.calibrate import Interval, Samples, fit_temperature, folds, loss, proportion
from clipcli.tasks.fit.methods import METHODS
from clipcli.tasks.fit.novelty import Novelty, measure_novelty

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.fit.few_shot_head import FewShotHead
    from clipcli.tasks.fit.methods import Examples, Method

    Flags = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

_INNER_FOLDS: Final = 3
_TEMPERATURES: Final = np.geomspace(0.05, 20.0, 13)
_SURE: Final = 0.05
"""A head is kept when chance alone would make it look as good less often than this."""
_VERY_SURE: Final = 0.01
"""The same for log losses, which can fall while right answers stay."""
_RESAMPLES: Final = 2000
_FEWEST: Final = 10
"""Examples under which the z test says nothing."""
_PAIR: Final = 2
"""Pictures that a label needs before one of them can be held out."""


@dataclass(frozen=True)
class Comparison:
    """A head and the texts alone, on the same held-out examples."""

    truth: npt.NDArray[np.int64]
    """(examples,): the right label's number."""
    head: Flags
    """(examples,): whether the head was right."""
    zero_shot: Flags
    """(examples,): whether the texts alone were."""
    gain: Interval
    """The head's accuracy less that of the texts, with its 95 % bootstrap interval over pairs."""
    chance: float
    """How often chance alone would show such a gain in right answers: the sign test over pairs that differ."""
    loss_chance: float
    """How often chance alone would show such a gain in the probability of the right answer, after calibration of both:
    the paired z test over log losses. With few examples it tells more than counts of right answers do."""

    @property
    def helps(self) -> bool:
        """Return whether the head gives more right answers, and by one of the two tests not by chance."""
        return self.gain.value > 0 and (self.chance < _SURE or self.loss_chance < _VERY_SURE)


@dataclass(frozen=True)
class Fit:
    """A head that is ready for use."""

    head: FewShotHead
    """Its logits through a softmax are calibrated probabilities."""
    novelty: Novelty
    """What is none of the labels."""
    comparison: Comparison | None
    """None where no label has two pictures, so that none could be held out."""


def fit_head(examples: Examples, strangers: Vectors, method: str, *, seed: int = 0) -> Fit:
    """Learn from all examples; the strength, temperature and figures come from examples that were held out.

    Args:
        examples: at least one, with two labels or more.
        strangers: (n, dim) unit vectors of pictures of none of the labels; may be empty.
        method: a name of `METHODS`.
        seed: of the folds and intervals.
    """
    learn, generator = METHODS[method], np.random.default_rng(seed)
    can_hold = _pairs(examples)
    logits = np.zeros((len(examples.truth), len(examples.texts)))
    for held in _held_out(examples, generator, can_hold):
        logits[held] = _best(learn, examples.some(~held), generator).logits(examples.vectors[held])
    head = _best(learn, examples, generator)
    novelty = measure_novelty(examples, strangers, list(_held_out(examples, generator, can_hold)))
    if not can_hold.any():
        return Fit(head, novelty, None)
    seen = Samples(logits[can_hold], examples.truth[can_hold], "softmax")
    texts = Samples(examples.zero_shot()[can_hold].astype(np.float64), seen.truth, "softmax")
    return Fit(head.cooled(fit_temperature(seen)), novelty, compare(seen, texts, generator))


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
    """(examples,): negative log likelihood of the right label, at the best temperature."""
    logits = samples.logits / fit_temperature(samples)
    top = logits.max(axis=1)
    total = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    return np.asarray(total - logits[np.arange(len(samples.truth)), samples.truth])


def _loss_chance(gains: Floats) -> float:
    """One-sided p of a mean gain above 0; 1 where too few examples tell."""
    if len(gains) < _FEWEST or gains.std() == 0.0:
        return 1.0
    return 0.5 * math.erfc(float(gains.mean() / gains.std(ddof=1)) * math.sqrt(len(gains) / 2.0))


def share(right: Flags, generator: np.random.Generator) -> Interval | None:
    """Return the share that is right, with its interval; None of none."""
    return proportion(int(right.sum()), int((~right).sum()), 0, generator)


def _best(learn: Method, examples: Examples, generator: np.random.Generator) -> FewShotHead:
    """The head of the strength that has the least loss on held-out examples, once each has its best temperature."""
    heads = list(learn.heads(examples))
    can_hold = _pairs(examples)
    if not can_hold.any():
        return heads[learn.default]
    logits = np.zeros((len(heads), len(examples.truth), len(examples.texts)), np.float32)
    for held in _held_out(examples, generator, can_hold, _INNER_FOLDS):
        for number, head in enumerate(learn.heads(examples.some(~held))):
            logits[number, held] = head.logits(examples.vectors[held])
    losses = [_cooled_loss(values[can_hold].astype(np.float64), examples.truth[can_hold]) for values in logits]
    return heads[int(np.argmin(losses))]


def _cooled_loss(logits: Floats, truth: npt.NDArray[np.int64]) -> float:
    doubt = 1.0 / (len(truth) + 2.0)  # as in calibration: nothing is taken for quite certain
    return min(loss(Samples(logits / cool, truth, "softmax"), doubt) for cool in _TEMPERATURES)


def _pairs(examples: Examples) -> Flags:
    """(examples,): whether the label has another picture too."""
    return np.asarray(np.bincount(examples.truth, minlength=len(examples.texts))[examples.truth] >= _PAIR)


def _held_out(examples: Examples, generator: np.random.Generator, can_hold: Flags, count: int = 5) -> list[Flags]:
    """Masks of what to hold out: each example of a label with several once, never all of a label at once."""
    chosen = np.flatnonzero(can_hold)
    masks = []
    for fold in folds(examples.truth[chosen], generator, count) if len(chosen) else ():
        mask = np.zeros(len(examples.truth), bool)
        mask[chosen[fold]] = True
        masks.append(mask)
    return masks
