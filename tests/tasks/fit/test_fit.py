"""What is learnt from a few labelled vectors: when it helps, when it is declined, what its scores mean."""

from __future__ import annotations

import numpy as np
import pytest

from clipcli.core.vectors import softmax, unit_length
from clipcli.tasks.calibrate import Samples
from clipcli.tasks.fit import METHODS, Examples, HeadClassifier, compare, fit_head

LABELS, DIM = 6, 32


def world(shots: int, *, text_noise: float, seed: int = 0, spread: float = 0.9) -> tuple[Examples, Examples]:
    """Clusters of pictures with texts that say where they are, more or less: what to learn from, and what to judge."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(LABELS, DIM))
    texts = unit_length(centres + text_noise * generator.normal(size=centres.shape))

    def draw(count: int) -> Examples:
        truth = np.repeat(np.arange(LABELS), count)
        gap = np.full(DIM, 0.5)  # pictures and texts lie in different corners, as in CLIP
        return Examples(
            unit_length(centres[truth] + spread * generator.normal(size=(len(truth), DIM)) + gap), truth, texts, 50.0
        )

    return draw(shots), draw(100)


def accuracy(logits: np.ndarray, truth: np.ndarray) -> float:
    return float((logits.argmax(axis=1) == truth).mean())


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_pictures_help_where_texts_say_little(method: str):
    few, many = world(8, text_noise=2.5)
    fit = fit_head(few, few.vectors[:0], method)
    assert fit.comparison is not None
    assert fit.comparison.helps
    zero_shot = accuracy(many.zero_shot(), many.truth)
    learnt = accuracy(fit.head.logits(many.vectors), many.truth)
    assert learnt > zero_shot + 0.1
    assert abs(fit.comparison.head.mean() - learnt) < 0.15
    assert abs(fit.comparison.zero_shot.mean() - zero_shot) < 0.15


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_labels_drawn_by_lot_teach_nothing(method: str):
    few, _ = world(6, text_noise=0.3)
    wrong = Examples(few.vectors, np.random.default_rng(1).permutation(few.truth), few.texts, few.scale)
    fit = fit_head(wrong, few.vectors[:0], method)
    assert fit.comparison is not None
    assert not fit.comparison.helps


def test_scores_are_as_often_right_as_they_say():
    few, many = world(8, text_noise=1.5, spread=1.6)
    head = fit_head(few, few.vectors[:0], "prototypes").head
    scores = softmax(head.logits(many.vectors))
    assert abs(scores.max(axis=1).mean() - accuracy(scores, many.truth)) < 0.12


def test_one_picture_of_each_label_cannot_be_held_out():
    few, many = world(1, text_noise=1.5)
    fit = fit_head(few, few.vectors[:0], "prototypes")
    assert fit.comparison is None
    assert fit.novelty.limit is None
    assert accuracy(fit.head.logits(many.vectors), many.truth) >= accuracy(many.zero_shot(), many.truth)


def test_a_label_without_pictures_keeps_its_text():
    few, many = world(8, text_noise=0.3)
    fit = fit_head(few.subset(few.truth != 2), few.vectors[:0], "prototypes")
    of_two = many.truth == 2
    assert accuracy(fit.head.logits(many.vectors[of_two]), many.truth[of_two]) > 0.5


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_pictures_and_a_second_run_change_nothing(method: str):
    few, many = world(4, text_noise=1.5)
    first, second = (fit_head(few, few.vectors[:0], method, seed=3).head for _ in range(2))
    np.testing.assert_array_equal(first.logits(many.vectors), second.logits(many.vectors))


@pytest.mark.parametrize("with_strangers", [False, True])
def test_strangers_are_none_of_the_labels(with_strangers):
    few, many = world(10, text_noise=1.0)
    foreign = unit_length(np.random.default_rng(9).normal(size=(120, DIM)))
    fit = fit_head(few, foreign[: 60 * with_strangers], "prototypes")
    names = tuple(map(str, range(LABELS)))
    with_none = HeadClassifier(names, fit.head, fit.novelty, none_name="none")
    answers = [with_none.classify(vector).label for vector in foreign[60:]]
    assert answers.count("none") > 45
    known = [with_none.classify(vector).label for vector in many.vectors[::5]]
    assert known.count("none") < 0.15 * len(known)
    without = HeadClassifier(names, fit.head, fit.novelty)
    assert all(without.classify(vector).label is not None for vector in foreign[:5])


def test_a_threshold_is_a_probability():
    few, many = world(6, text_noise=1.0)
    fit = fit_head(few, few.vectors[:0], "prototypes")
    strict = HeadClassifier(tuple(map(str, range(LABELS))), fit.head, fit.novelty, threshold=0.99)
    for vector in many.vectors[::20]:
        found = strict.classify(vector)
        assert (found.label is not None) == (found.score >= 0.99)
        assert found.score == found.ranked[0].score


def test_only_the_nearest_vote():
    few, _ = world(5, text_noise=1.0)
    head = fit_head(few, few.vectors[:0], "knn").head
    from dataclasses import replace

    affinity = replace(head, neighbours=3, sharpness=6.0).affinity(few.vectors)
    assert ((affinity > 0).sum(axis=1) == 3).all()
    np.testing.assert_allclose(affinity.max(axis=1), 1.0, rtol=1e-5)


def test_a_gain_of_one_picture_is_no_gain():
    generator = np.random.default_rng(0)
    truth = np.zeros(8, np.int64)
    texts = np.tile([0.0, 1.0], (8, 1))
    texts[1:] = [1.0, 0.0]
    learnt = np.tile([1.0, 0.0], (8, 1))
    compared = compare(Samples(learnt, truth, "softmax"), Samples(texts, truth, "softmax"), generator)
    assert compared.gain.value == 1 / 8
    assert not compared.helps
