"""Methods that learn a head from a few examples, starting from the labels' texts.

Every method scores a label with the zero-shot logit plus a learnt term, so that with few or uninformative examples the
zero-shot head remains. Each has a few strengths; the best one is chosen on held-out examples
(`clipcli.tasks.fit.held_out`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from clipcli.tasks.fit.heads import Examples, FewShotHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """A way to learn a head."""

    about: str
    """Description for `--help`, in a few words."""
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

    def loss(flat: Floats, penalty: float) -> tuple[float, Floats]:
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
            loss,
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
    "prototypes": Method("the mean picture of each label, beside its text", prototypes, 1),
    "linear": Method("logistic regression", linear, 3),
    "ridge": Method("kernel ridge regression", ridge, 1),
    "knn": Method("votes of the nearest pictures", knn, 0),
}
