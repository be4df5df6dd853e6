"""Zero-shot classification: unit vectors of images against those of labels, and the comparison with expected labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from clipcli.core.vectors import Scores, cosines, sigmoid, softmax, top_k

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from clipcli.core.encoder import Scoring
    from clipcli.core.vectors import Vector, Vectors


Meaning = Literal["softmax", "sigmoid", "background", "cosine"]
"""The kind of score:

softmax     probability among the labels; the scores add up to 1 (CLIP's own head)
sigmoid     independent probability of each label, as SigLIP models are trained
background  independent: the softmax of one label and the background prompts
cosine      the raw similarity, -1 to 1
"""


@dataclass(frozen=True)
class LabelScore:
    """One label of one image."""

    label: str
    score: float
    similarity: float
    """Cosine between image and label, for any kind of score; for a group, that of its best member."""


@dataclass(frozen=True)
class Prediction:
    """The result of one image."""

    label: str | None
    """The predicted label; None if no label reached the threshold."""
    score: float
    """The score of the predicted label, or of the best label if there is none."""
    ranked: tuple[LabelScore, ...]
    """Labels by decreasing score: all, or in a multi-label run those above the threshold."""


class LabelBin(NamedTuple):
    """Labels whose probabilities are added up under one name."""

    name: str
    members: tuple[int, ...]
    """Positions among the labels."""


@dataclass(frozen=True)
class BestLabels:
    """The best label of each of n images, as arrays: one object per image would dominate the time of millions."""

    names: Sequence[str]
    best: npt.NDArray[np.int64]
    """(n,): indices into `names`."""
    scores: Scores
    """(n,) float32: score of the best label."""
    similarities: Scores
    """(n,) float32: cosine with the best label."""
    passed: npt.NDArray[np.bool_]
    """(n,): True if the best label reaches its threshold."""
    none_name: str | None
    """The label of images that do not reach it."""

    def predictions(self) -> Iterator[Prediction]:
        """Yield the prediction of each image."""
        columns = (array.tolist() for array in (self.best, self.scores, self.similarities, self.passed))
        for best, score, similarity, passed in zip(*columns, strict=True):
            name = self.names[best]
            label = name if passed else self.none_name
            yield Prediction(label, score, (LabelScore(name, score, similarity),))


@dataclass(frozen=True)
class Classifier:
    """The labels' vectors, and how their scores are computed."""

    names: tuple[str, ...]
    vectors: Vectors
    """(labels, dim), unit length."""
    scoring: Scoring
    meaning: Meaning
    background: Vector | None = None
    """(dim,), unit length: vector of the background prompts."""
    none_name: str | None = None
    """The label if the background scores best, or no label reaches the threshold."""
    threshold: float | None = None
    multi_label: bool = False
    bins: tuple[LabelBin, ...] = ()
    limits: Mapping[str, float] | None = None
    """Thresholds per label, instead of one for all."""

    def classify(self, image: Vector) -> Prediction:
        """Rank the labels for one image, (dim,), unit length."""
        names, values, similarity = self._read(image)
        order = top_k(values, len(names))
        return self._decide(tuple(LabelScore(names[i], float(values[i]), float(similarity[i])) for i in order))

    def _decide(self, ranked: tuple[LabelScore, ...]) -> Prediction:
        """Return the prediction, from labels by decreasing score."""
        best = ranked[0]
        if self.multi_label:
            accepted = tuple(entry for entry in ranked if entry.score >= self._limit(entry.label))
            return Prediction(accepted[0].label if accepted else self.none_name, best.score, accepted)
        passed = best.score >= self._limit(best.label)
        return Prediction(best.label if passed else self.none_name, best.score, ranked)

    def classify_block(self, images: Vectors, top: int) -> Iterator[Prediction]:
        """Rank the labels for each of (n, dim) unit vectors; with `top` above 0, only the best `top` if possible.

        The predictions equal those of `classify`, up to rounding in the matrix product.
        """
        if top == 1 and not self.multi_label:
            yield from self.best_labels(images).predictions()
            return
        names, values, similarity = self._read_block(images)
        if self.multi_label or not 0 < top < len(names):
            order = np.argsort(-values, axis=1, kind="stable")
        else:
            order = np.argsort(-values, axis=1, kind="stable")[:, :top]
        columns = (np.take_along_axis(each, order, axis=1).tolist() for each in (values, similarity))
        for row in zip(order.tolist(), *columns, strict=True):
            yield self._decide(tuple(LabelScore(names[i], v, s) for i, v, s in zip(*row, strict=True)))

    def best_labels(self, images: Vectors) -> BestLabels:
        """Return the best label of each of (n, dim) unit vectors; not for multi-label runs.

        The predictions equal those of `classify`, up to rounding in the matrix product.
        """
        rows = np.arange(len(images))
        if self.meaning == "softmax" and not self.bins and self.scoring.scale > 0:
            names, similarity = self._cosines_of_answers(images)
            best = similarity.argmax(axis=1)
            similarities = similarity[rows, best]
            similarity -= similarities[:, None]  # in place: only the best probability is needed
            similarity *= np.float32(self.scoring.scale)
            values = 1 / np.exp(similarity, out=similarity).sum(axis=1, dtype=np.float64)
        else:
            names, every, similarity = self._read_block(images)
            best = every.argmax(axis=1)
            values, similarities = every[rows, best], similarity[rows, best]
        limits = np.array([self._limit(name) for name in names], np.float32)
        scores = values.astype(np.float32, copy=False)
        return BestLabels(names, best, scores, similarities, scores >= limits[best], self.none_name)

    def logits(self, image: Vector) -> Scores:
        """Return the logits (labels,) of one image, (dim,), unit length; a temperature divides them."""
        similarity = cosines(image[None], self.vectors)[0]
        if self.meaning == "background":
            return np.asarray(self._apart(image[None], similarity[None])[0] * np.float32(self.scoring.scale))
        return np.asarray(similarity * np.float32(self.scoring.scale) + np.float32(self.scoring.bias))

    def _limit(self, label: str) -> float:
        if self.limits is not None:
            return self.limits[label]
        if self.threshold is not None:
            return self.threshold
        return 0.5 if self.multi_label else -np.inf

    def _read(self, image: Vector) -> tuple[Sequence[str], Scores, Scores]:
        """Return names, scores and cosines of all possible labels for one image."""
        names, values, similarity = self._read_block(image[None])
        return names, values[0], similarity[0]

    def _read_block(self, images: Vectors) -> tuple[Sequence[str], Scores, Scores]:
        """Return names, and (n, names) scores and cosines, for (n, dim) images."""
        if self.meaning == "background":
            similarity = cosines(images, self.vectors)
            apart = self._apart(images, similarity)
            return self.names, sigmoid(apart * np.float32(self.scoring.scale)), similarity
        names, similarity = self._cosines_of_answers(images)
        values = similarity if self.meaning == "cosine" else scores(similarity, self.scoring)
        return self._binned(names, values, similarity) if self.bins else (names, values, similarity)

    def _cosines_of_answers(self, images: Vectors) -> tuple[Sequence[str], Scores]:
        """Return names and (n, names) cosines of the labels, and of the background if it can win."""
        similarity = cosines(images, self.vectors)
        if self.none_name is None or self.background is None or self.multi_label:
            return self.names, similarity
        return (*self.names, self.none_name), np.hstack([similarity, cosines(images, self.background[None])])

    def _apart(self, images: Vectors, similarity: Scores) -> Scores:
        """Return label minus background cosines: the softmax of two logits is the sigmoid of their difference."""
        if self.background is None:
            raise ValueError("scores against the background need a background vector")
        return np.asarray(similarity - cosines(images, self.background[None]))

    def _binned(self, names: Sequence[str], values: Scores, similarity: Scores) -> tuple[Sequence[str], Scores, Scores]:
        """Replace labels by their bins: softmax scores are added, of independent scores the best is taken."""
        combine = np.sum if self.meaning == "softmax" else np.max
        binned = {member for entry in self.bins for member in entry.members}
        alone = [index for index in range(len(names)) if index not in binned]
        members = [list(entry.members) for entry in self.bins] + [[index] for index in alone]
        return (
            [entry.name for entry in self.bins] + [names[index] for index in alone],
            np.stack([combine(values[:, columns], axis=1) for columns in members], axis=1).astype(
                np.float32, copy=False
            ),
            np.stack([similarity[:, columns].max(axis=1) for columns in members], axis=1),
        )


def scores(similarity: Scores, scoring: Scoring) -> Scores:
    """Turn cosines into scores by the model's head: softmax over the labels, or one sigmoid per label."""
    logits = similarity * np.float32(scoring.scale) + np.float32(scoring.bias)
    return softmax(logits) if scoring.activation == "softmax" else sigmoid(logits)


_TOP_ANSWERS = 5
_MOST_CONFUSIONS = 5


@dataclass(frozen=True)
class Verdict:
    """The comparison of one image's labels with its expected labels."""

    expected: str
    """The right labels, joined by " or "."""
    found: str | None
    """The predicted label; None if the image could not be read, or no label reached the threshold."""
    holds: bool
    found_score: float | None = None
    expected_score: float | None = None
    """None if the expected label is not one of the labels, or in a multi-label run is below the threshold."""
    in_top: bool = False
    """True if the expected label is among the five best."""
    forbidden: bool = False
    """True if `expected` is a label that the image must not have."""
    right: tuple[str, ...] = ()
    """The right labels; empty if `forbidden`."""


def judge(right: Sequence[str], result: Prediction, *, multi_label: bool = False) -> Verdict:
    """Compare one result with the right labels, of which one suffices.

    A multi-label result is right if one of them is among its labels.
    """
    names = [entry.label for entry in result.ranked]
    rank = min((names.index(label) for label in right if label in names), default=None)
    holds = rank is not None if multi_label else result.label in right
    score = None if rank is None else result.ranked[rank].score
    in_top = rank is not None and rank < _TOP_ANSWERS
    return Verdict(joined(right), result.label, holds, result.score, score, in_top, right=tuple(right))


def joined(right: Sequence[str]) -> str:
    """Return the right labels as rows and reports show them: `cat or kitten`."""
    return " or ".join(right)


def judge_forbidden(forbidden: Sequence[str], result: Prediction, *, multi_label: bool = False) -> Verdict:
    """Compare one result with forbidden labels: its best label, or in a multi-label run all its labels."""
    entries = [entry for entry in result.ranked if multi_label or entry.label == result.label]
    wrong = next((entry for entry in entries if entry.label in forbidden), None)
    expected = "not " + " or ".join(forbidden)
    if wrong is None:
        return Verdict(expected, result.label, holds=True, found_score=result.score, in_top=True, forbidden=True)
    return Verdict(expected, wrong.label, holds=False, found_score=wrong.score, forbidden=True)


def unreadable(right: Sequence[str]) -> Verdict:
    """Return the verdict on an image that cannot be read: it fails its check."""
    return Verdict(joined(right), None, holds=False, right=tuple(right))


@dataclass
class Tally:
    """Counts over verdicts."""

    minimum: float = 1.0
    """The least top-1 accuracy with which the check passes, 0 to 1."""
    total: int = 0
    right: int = 0
    in_top: int = 0
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one image."""
        self.total += 1
        self.right += verdict.holds
        self.in_top += verdict.in_top
        if not verdict.holds and verdict.found is not None:
            self.confusions[verdict.expected, verdict.found] += 1

    @property
    def top1(self) -> float:
        """Share of images that got their label, 0 to 1."""
        return self.right / self.total if self.total else 0.0

    @property
    def top5(self) -> float:
        """Share of images whose label was among the five best, 0 to 1."""
        return self.in_top / self.total if self.total else 0.0

    @property
    def holds(self) -> bool:
        """Return whether enough images got their label; False without images."""
        return self.total > 0 and self.top1 >= self.minimum

    @property
    def worst(self) -> Sequence[tuple[str, str, int]]:
        """Return the most frequent confusions: (expected, predicted, count)."""
        ordered = sorted(self.confusions.items(), key=lambda item: (-item[1], item[0]))
        return [(expected, found, count) for (expected, found), count in ordered[:_MOST_CONFUSIONS]]
