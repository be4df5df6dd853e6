"""Heads on vectors: trained predictors, and few-shot heads with their examples, strangers (novelty) and answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal, get_args

import numpy as np

from clipcli.core.vectors import sigmoid, softmax, top_k, unit_length
from clipcli.tasks.calibrate import Goal, best_threshold
from clipcli.tasks.classify import LabelScore, Meaning, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from clipcli.core.vectors import Scores, Vector, Vectors


@dataclass(frozen=True)
class Examples:
    """Labelled vectors, and the vectors of the labels' texts."""

    vectors: Vectors
    """(examples, dim), unit length."""
    truth: npt.NDArray[np.int64]
    """(examples,): index of the label."""
    texts: Vectors
    """(labels, dim), unit length."""
    scale: float
    """The factor for cosines in the model's own head."""

    def subset(self, chosen: npt.NDArray[np.bool_]) -> Examples:
        """Return the chosen examples, a mask (examples,)."""
        return Examples(self.vectors[chosen], self.truth[chosen], self.texts, self.scale)

    def zero_shot(self) -> Scores:
        """Return (examples, labels) logits of the labels' texts alone."""
        return np.asarray(self.vectors @ self.texts.T * np.float32(self.scale), np.float32)

    @property
    def answers(self) -> npt.NDArray[np.float64]:
        """Return (examples, labels): 1 at the right label, 0 elsewhere."""
        return np.asarray(self.truth[:, None] == np.arange(len(self.texts)), np.float64)


@dataclass(frozen=True)
class FewShotHead:
    """Logits of labels: `vector @ weights.T + bias`, plus votes of examples that are similar to the vector.

    An example votes with `exp(sharpness * (cosine - 1))`, the adapter of Zhang et al., "Tip-Adapter: Training-free
    Adaption of CLIP for Few-shot Classification", arXiv:2207.09519, section 3.2.
    """

    weights: Vectors
    """(labels, dim)."""
    bias: Vector
    """(labels,)."""
    examples: Vectors
    """(examples, dim), unit length; (0, dim) without votes."""
    votes: Vectors
    """(examples, labels): the amount an example adds to each label's logit at cosine 1."""
    sharpness: float = 0.0
    """The decay of votes with distance; 0 or more."""
    neighbours: int = 0
    """The number of nearest examples that vote; 0 means all."""

    def logits(self, images: Vectors) -> Scores:
        """Return float32 (images, labels) for (images, dim) unit vectors."""
        values = images @ self.weights.T + self.bias
        if len(self.examples):
            values = values + self.affinity(images) @ self.votes
        return np.asarray(values, np.float32)

    def affinity(self, images: Vectors) -> Scores:
        """Return (images, examples) votes: 1 for an example equal to the image, 0 for those that do not vote."""
        cosines = np.asarray(images @ self.examples.T, np.float32)
        fading = np.exp(np.float32(self.sharpness) * (cosines - np.float32(1)))
        if 0 < self.neighbours < cosines.shape[1]:
            nearest = np.partition(cosines, -self.neighbours, axis=1)[:, -self.neighbours, None]
            fading = np.where(cosines >= nearest, fading, np.float32(0))
        return np.asarray(fading, np.float32)

    def cooled(self, temperature: float) -> FewShotHead:
        """Return the head with its logits divided by a temperature."""
        share = np.float32(1.0 / temperature)
        return replace(self, weights=self.weights * share, bias=self.bias * share, votes=self.votes * share)


REFUSED: Final = 0.05
"""The share of held-out pictures of the labels that is taken for none of them, without strangers to learn from."""


@dataclass(frozen=True)
class Novelty:
    """The centres of the labels' pictures, relative to the mean of all pictures."""

    middle: Vector
    """(dim,)."""
    centres: Vectors
    """(labels, dim), unit length; zeros for a label without pictures."""
    limit: float | None
    """The similarity below which a picture is none of the labels; None if it could not be measured."""

    def likeness(self, images: Vectors) -> Scores:
        """Return (images, labels) cosines with the centres, relative to the middle, for (images, dim) unit vectors."""
        return np.asarray(unit_length(images - self.middle) @ self.centres.T, np.float32)


def measure_novelty(examples: Examples, strangers: Vectors, held_out: Sequence[npt.NDArray[np.bool_]]) -> Novelty:
    """Compute the centres, and the limit on held-out examples."""
    whole = _centres(examples)
    if not held_out:
        return whole
    known = np.concatenate(
        [_centres(examples.subset(~held)).likeness(examples.vectors[held]).max(axis=1) for held in held_out]
    ).astype(np.float64)
    if len(strangers):
        foreign = whole.likeness(strangers).max(axis=1).astype(np.float64)
        scores = np.concatenate([known, foreign])
        right = np.arange(len(scores)) < len(known)
        limit = best_threshold(scores, right, len(known), -1.0, Goal("decisions")).threshold
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


@dataclass(frozen=True)
class HeadClassifier:
    """A head with the names of its labels and the conditions for an answer."""

    names: tuple[str, ...]
    head: FewShotHead
    novelty: Novelty
    none_name: str | None = None
    """The answer for a picture that is unlike those of all labels, or below the threshold."""
    threshold: float | None = None
    """The least probability with which a label is given."""
    meaning: ClassVar[Meaning] = "softmax"
    multi_label: ClassVar[bool] = False

    def classify(self, image: Vector) -> Prediction:
        """Rank the labels for one image, (dim,), unit length.

        The similarity of a label is the cosine with the centre of its pictures, relative to the mean of all; an
        image below the head's limit for all labels is none of them.
        """
        values = softmax(self.head.logits(image[None]))[0]
        likeness = self.novelty.likeness(image[None])[0]
        ranked = tuple(
            LabelScore(self.names[i], float(values[i]), float(likeness[i])) for i in top_k(values, len(values))
        )
        best = ranked[0]
        limit = self.novelty.limit
        is_strange = self.none_name is not None and limit is not None and float(np.max(likeness)) < limit
        passed = not is_strange and (self.threshold is None or best.score >= self.threshold)
        return Prediction(best.label if passed else self.none_name, best.score, ranked)


Activation = Literal["none", "relu", "gelu", "tanh"]
OutputKind = Literal["none", "sigmoid", "softmax"]
ACTIVATIONS: Final[tuple[str, ...]] = get_args(Activation)
OUTPUT_KINDS: Final[tuple[str, ...]] = get_args(OutputKind)


def _gelu(values: Scores) -> Scores:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return np.asarray(values * 0.5 * (1.0 + erf(values / math.sqrt(2.0))), np.float32)


_ACTIVATION_FUNCTIONS: Final[Mapping[str, Callable[[Scores], Scores]]] = {
    "none": lambda values: values,
    "relu": lambda values: np.maximum(values, np.float32(0)),
    "gelu": _gelu,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
}


@dataclass(frozen=True)
class Predictor:
    """Layers of a predictor, in order."""

    weights: tuple[Vectors, ...]
    """(outputs, inputs) each."""
    biases: tuple[Vector, ...]
    """(outputs,) each."""
    activation: Activation
    """Between layers."""
    output: OutputKind
    """After the last."""
    mean: Vector | None = None
    """(dim,): subtracted from the vectors, if the predictor was trained so."""
    deviation: Vector | None = None
    """(dim,): the centred vectors are divided by it."""

    @property
    def dim(self) -> int:
        """Return the length of its input vectors."""
        return int(self.weights[0].shape[1])

    @property
    def outputs(self) -> int:
        """Return the number of outputs."""
        return len(self.biases[-1])

    def predict(self, vectors: Vectors) -> Scores:
        """Return float32 (n, outputs) for (n, dim) unit vectors."""
        values = np.asarray(vectors, np.float32)
        if self.mean is not None and self.deviation is not None:
            values = np.asarray((values - self.mean) / self.deviation, np.float32)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = np.asarray(values @ weight.T + bias, np.float32)
            is_last = number == len(self.weights) - 1
            values = _ACTIVATION_FUNCTIONS[self.output if is_last else self.activation](values)
        return values
