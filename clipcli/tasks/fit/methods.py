"""Methods that learn a head from a few examples, and the choice of a head's strength by cross-validation.

Every method scores a label with the zero-shot logit of its text plus a learnt term, so that with few or uninformative
examples the zero-shot head remains. Each has a few strengths; the best one is chosen on held-out examples, which also
calibrate the head and compare it with the texts alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from clipcli.tasks.calibrate import Interval, Samples, fit_temperature, folds, loss, proportion
from clipcli.tasks.fit.heads import Examples, FewShotHead, Novelty, measure_novelty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from clipcli.core.vectors import Vectors

    Floats: TypeAlias = npt.NDArray[np.float64]
    Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Method:
    """A way to learn a head."""

    about: str
    """Its words in `--help`; options/fit.py repeats them, since help loads no numpy, and a test compares the two."""
    heads: Callable[[Examples], Iterator[FewShotHead]]
    """Yields one head per strength; always the same number."""
    default: int
    """Index of the strength to use without held-out examples: a cautious one."""


def prototypes(examples: Examples) -> Iterator[FewShotHead]:
    """Yield each label's mean picture beside its text: discriminant analysis with one shared, shrunk covariance.

    Wang et al., "A Hard-to-Beat Baseline for Training-Free CLIP-based Adaptation", arXiv:2402.04087, section 3.2. With
    one picture of each label nothing is known of the covariance, and the means count as they are.
    """
    vectors, truth, labels = examples.vectors.astype(np.float64), examples.truth, len(examples.texts)
    counts = np.bincount(truth, minlength=labels).astype(np.float64)
    sums = np.zeros((labels, vectors.shape[1]))
    np.add.at(sums, truth, vectors)
    means = sums / np.maximum(counts, 1.0)[:, None]
    middle = means[counts > 0].mean(axis=0)
    # A mean of few pictures is uncertain: it is shrunk towards the middle, as if one more picture lay there.
    offsets = (means - middle) * (counts / (counts + _PSEUDO_COUNT))[:, None]
    directions = _whitened(vectors - means[truth], offsets, float(len(vectors) - (counts > 0).sum()))
    bias = -np.einsum("ij,ij->i", directions, middle + offsets / 2.0)
    for share in _STRENGTHS:
        strength = share * examples.scale / _USUAL_SCALE
        yield _added(examples, directions * strength, bias * strength)


def _whitened(deviations: Floats, offsets: Floats, degrees: float) -> Floats:
    """Return (labels, dim): offsets times the inverse of the pooled covariance, shrunk towards the identity."""
    dim = offsets.shape[1]
    trace = float((deviations**2).sum())
    if degrees <= 0 or trace <= 0:
        return np.asarray(offsets * dim)
    # Woodbury identity: with fewer examples than dimensions the smaller matrix is inverted.
    if len(deviations) < dim:
        inner = deviations @ deviations.T + trace / degrees * np.eye(len(deviations))
        corrected = offsets - np.linalg.solve(inner, deviations @ offsets.T).T @ deviations
        return np.asarray(corrected * (dim * degrees / trace))
    spread = deviations.T @ deviations + trace / degrees * np.eye(dim)
    return np.asarray(np.linalg.solve(spread, offsets.T).T * dim)


def ridge(examples: Examples) -> Iterator[FewShotHead]:
    """Yield heads by kernel ridge regression of the residuals of the texts, in closed form.

    Bendou et al., "ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large Vision-Language Models",
    arXiv:2501.11175, section 3.
    """
    vectors = examples.vectors.astype(np.float64)
    cosines = vectors @ vectors.T
    wrong = examples.answers - np.exp(_log_softmax(examples.zero_shot().astype(np.float64)))
    for sharpness in _sharpness(examples):
        values, axes = np.linalg.eigh(np.exp(sharpness * (cosines - 1.0)))
        turned = axes.T @ wrong
        for penalty in _PENALTIES:
            votes = axes @ (turned / (np.maximum(values, 0.0) + penalty)[:, None])
            head = _texts_alone(examples)
            for strength in _VOTES:
                yield replace(head, examples=examples.vectors, votes=(votes * strength).astype(np.float32),
                              sharpness=sharpness)  # fmt: skip


def knn(examples: Examples) -> Iterator[FewShotHead]:
    """Yield heads in which the nearest examples vote for their labels (Tip-Adapter, arXiv:2207.09519)."""
    head = replace(_texts_alone(examples), examples=examples.vectors)
    answers = examples.answers.astype(np.float32)
    for strength in _VOTES:
        for sharpness in _sharpness(examples):
            for neighbours in _NEIGHBOURS:
                yield replace(head, votes=answers * np.float32(strength), sharpness=sharpness, neighbours=neighbours)


def linear(examples: Examples) -> Iterator[FewShotHead]:
    """Yield heads by L2 logistic regression with the texts' logits as offset, which is not penalised."""
    from scipy.optimize import minimize

    start = examples.zero_shot().astype(np.float64)
    vectors, answers = examples.vectors.astype(np.float64), examples.answers
    middle = vectors.mean(axis=0)
    basis, reduced = _reduced(vectors - middle)
    theta = np.zeros((reduced.shape[1] + 1, start.shape[1]))

    def penalised_loss(flat: Floats, penalty: float) -> tuple[float, Floats]:
        weights = flat.reshape(theta.shape)
        logs = _log_softmax(start + reduced @ weights[:-1] + weights[-1])
        residual = np.exp(logs) - answers
        gradient = np.vstack(
            [reduced.T @ residual + penalty * weights[:-1], residual.sum(axis=0) + penalty * weights[-1]]
        )
        return float(-(logs * answers).sum() + penalty / 2.0 * (weights**2).sum()), gradient.ravel()

    spread = float((reduced**2).sum()) / len(vectors)
    for penalty in _RIDGES:
        solution = minimize(
            penalised_loss,
            theta.ravel(),
            args=(penalty * max(spread, 1e-12),),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 300},
        )
        theta = solution.x.reshape(theta.shape)
        directions = theta[:-1].T @ basis
        yield _added(examples, directions, theta[-1] - directions @ middle)


def _sharpness(examples: Examples) -> list[float]:
    """Return sharpness values scaled by the mean distance of pictures, which differs between models."""
    middle = examples.vectors.mean(axis=0, dtype=np.float64)
    distance = 1.0 - float(middle @ middle)  # the mean of 1 - cosine over all pairs
    return [share / max(distance, 1e-6) for share in _SHARES]


def _reduced(vectors: Floats) -> tuple[Floats, Floats]:
    """Return an orthonormal basis of the space that vectors span, (rank, dim), and the vectors in it, (n, rank)."""
    coordinates, lengths, basis = np.linalg.svd(vectors, full_matrices=False)
    is_nonzero = lengths > lengths.max(initial=0.0) * 1e-7
    return basis[is_nonzero], coordinates[:, is_nonzero] * lengths[is_nonzero]


def _added(examples: Examples, directions: Floats, bias: Floats) -> FewShotHead:
    """Return the sum of the texts' head and a linear head."""
    head = _texts_alone(examples)
    return replace(head, weights=(head.weights + directions).astype(np.float32), bias=bias.astype(np.float32))


def _texts_alone(examples: Examples) -> FewShotHead:
    labels, dim = examples.texts.shape
    return FewShotHead(
        examples.texts * np.float32(examples.scale), np.zeros(labels, np.float32),
        np.zeros((0, dim), np.float32), np.zeros((0, labels), np.float32),
    )  # fmt: skip


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


_PSEUDO_COUNT = 1.0
_USUAL_SCALE = 100.0
"""The factor for cosines in most CLIP models; strengths are given for it."""
_STRENGTHS = (0.03, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 10.0, 30.0)
_SHARES = (1.0, 3.0)
_PENALTIES = (0.1, 1.0)
_VOTES = (1.0, 3.0, 10.0, 30.0)
_NEIGHBOURS = (3, 10, 0)
_RIDGES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
METHODS: Final[Mapping[str, Method]] = {
    "prototypes": Method("mean picture of each label beside its text", prototypes, 1),
    "linear": Method("logistic regression", linear, 3),
    "ridge": Method("kernel ridge regression", ridge, 1),
    "knn": Method("votes of the nearest pictures", knn, 0),
}


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
