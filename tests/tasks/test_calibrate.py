"""Calibration on made-up scores whose truth is known; scipy is the judge of the figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import log_softmax

from clipcli.tasks.calibrate import (
    Goal,
    Samples,
    best_threshold,
    calibrate,
    calibration_error,
    decide,
    fit,
    fit_temperature,
    folds,
    loss,
    probabilities,
    proportion,
)


def overconfident(images: int = 900, labels: int = 4, factor: float = 3.0, seed: int = 1) -> Samples:
    """Truth is drawn from the softmax of the logits, which are then blown up by `factor`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (images, labels))
    chances = probabilities(logits, "softmax")
    truth = (chances.cumsum(axis=1) < generator.random((images, 1))).sum(axis=1)
    return Samples(logits * factor, truth.astype(np.int64), "softmax")


def test_the_temperature_undoes_what_was_done():
    assert fit_temperature(overconfident(factor=3.0)) == pytest.approx(3.0, rel=0.15)
    assert fit_temperature(overconfident(factor=0.5)) == pytest.approx(0.5, rel=0.15)


def test_the_temperature_is_the_one_that_scipy_finds():
    samples = overconfident(200)

    def nll(log: float, doubt: float = 0.0) -> float:
        rows = log_softmax(samples.logits / np.exp(log), axis=1)
        right = rows[np.arange(len(rows)), samples.truth]
        return float(-((1 - doubt) * right + doubt * rows.mean(axis=1)).mean())

    best = optimize.minimize_scalar(nll, args=(1 / 202,), bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(samples) == pytest.approx(np.exp(best.x), rel=1e-4)
    assert loss(samples) == pytest.approx(nll(0.0))


def test_images_that_are_all_told_apart_ask_for_no_certainty():
    logits = np.eye(2)[np.repeat([0, 1], 20)] * 5.0
    samples = Samples(logits, np.repeat([0, 1], 20), "softmax")
    confident = probabilities(logits / fit_temperature(samples), "softmax").max(axis=1)
    assert confident.mean() == pytest.approx(1 - 0.5 / 42, abs=1e-4)


def test_independent_scores_have_a_temperature_too():
    generator = np.random.default_rng(3)
    logits = generator.normal(-1, 2, (2000, 1))
    truth = np.where(generator.random(2000) < 1 / (1 + np.exp(-logits[:, 0])), 0, -1)
    samples = Samples(logits * 4, truth, "sigmoid", multi_label=True)
    assert fit_temperature(samples) == pytest.approx(4, rel=0.15)


def test_calibration_error_falls_and_is_measured_on_other_images():
    found = calibrate(overconfident())
    assert found.error_before > 0.15
    assert found.error_after < found.error_before / 3
    assert found.loss_after < found.loss_before


def test_calibration_error_by_hand():
    # Two answers of confidence 0.9, one right: |1.8 - 1| / 4; two of 0.6, both right: |1.2 - 2| / 4.
    odds = [np.log(9), np.log(9), np.log(1.5), np.log(1.5)]
    logits = np.array([[value, 0.0] for value in odds])
    samples = Samples(logits, np.array([0, 1, 0, 0]), "softmax")
    assert calibration_error(samples) == pytest.approx(0.4)


def test_the_best_cut_is_the_best_of_all_cuts():
    generator = np.random.default_rng(5)
    for _ in range(50):
        scores, right = generator.random(20).round(2), generator.random(20) < 0.4
        total = int(right.sum()) + 3

        def f1(limit: float, scores=scores, right=right, total=total) -> float:
            taken = scores >= limit
            return 2 * (taken & right).sum() / (taken.sum() + total) if taken.any() else 0.0

        threshold = best_threshold(scores, right, total, 0.0)
        assert f1(threshold.threshold) == pytest.approx(max(f1(limit) for limit in scores), abs=1e-12)


def test_a_cut_stands_halfway_to_what_it_keeps_out():
    assert best_threshold(np.array([0.9, 0.8, 0.3]), np.array([True, True, False]), 2, 0.1).threshold == pytest.approx(
        0.55
    )
    assert best_threshold(np.array([0.9, 0.8]), np.array([True, True]), 2, 0.2).threshold == pytest.approx(0.5)
    equal = best_threshold(np.array([0.7, 0.7]), np.array([True, False]), 1, 0.0)
    assert equal.threshold <= 0.7


def test_a_wanted_precision():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, True, False, True, False])
    assert best_threshold(scores, right, 3, 0.0, Goal(precision=0.9)).threshold == pytest.approx(0.75)
    assert best_threshold(scores, right, 3, 0.0, Goal(precision=0.75)).threshold == pytest.approx(0.55)
    hopeless = best_threshold(scores, np.array([False, True, False, False, False]), 1, 0.0, Goal(precision=0.9))
    assert not hopeless.reached
    assert hopeless.threshold == pytest.approx(0.75)


def test_most_right_decisions():
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    right = np.array([True, False, False, True])
    goal = Goal("decisions")
    assert best_threshold(scores, right, 2, 0.0, goal).threshold == pytest.approx(0.85)
    assert best_threshold(scores, ~right, 2, 0.0, goal).threshold <= 0.9
    assert best_threshold(scores[:3], np.array([False, False, True]), 1, 0.0, goal).threshold > 0.9


def test_intervals_agree_with_scipy():
    generator = np.random.default_rng(0)
    ours = proportion(18, 6, 40, generator)
    data = np.array([1] * 18 + [0] * 6 + [-1] * 40)
    theirs = stats.bootstrap(
        (data,), lambda drawn, axis: (drawn == 1).sum(axis) / (drawn >= 0).sum(axis), vectorized=True,
        method="percentile", n_resamples=2000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert ours is not None
    assert ours.value == 0.75
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    perfect = proportion(3, 0, 50, generator)
    wilson = stats.binomtest(3, 3).proportion_ci(method="wilson")
    assert perfect is not None
    assert (perfect.low, perfect.high) == pytest.approx((wilson.low, wilson.high))
    assert proportion(0, 0, 9, generator) is None


def test_folds_hold_out_each_image_once_and_spread_the_labels():
    truth = np.repeat([0, 1, -1], [10, 5, 7])
    masks = list(folds(truth, np.random.default_rng(0)))
    assert np.array_equal(np.sum(masks, axis=0), np.ones(22))
    assert {int((truth[mask] == 0).sum()) for mask in masks} == {2}
    assert {int((truth[mask] == 1).sum()) for mask in masks} == {1}
    assert len(list(folds(np.array([0, 1]), np.random.default_rng(0)))) == 2


def test_strangers_are_kept_out_by_a_threshold():
    """Label 0 is easy, label 1 takes in images of nothing in particular with low scores."""
    generator = np.random.default_rng(2)
    own = np.repeat([0, 1], 40)
    logits = np.where(own[:, None] == np.arange(2), 4.0, 0.0) + generator.normal(0, 0.3, (80, 2))
    strange = np.stack([np.zeros(40), np.full(40, 1.0)], axis=1) + generator.normal(0, 0.3, (40, 2))
    samples = Samples(np.concatenate([logits, strange]), np.concatenate([own, np.full(40, -1)]), "softmax")
    found = calibrate(samples)
    assert found.accuracy > 0.98
    flat = decide(probabilities(samples.logits, "softmax"), fit(samples).thresholds, multi_label=False)
    assert not flat[80:].any()
    assert found.labels[1].precision is not None
    assert found.labels[1].precision.value > 0.95


def test_a_label_of_few_images_takes_the_threshold_of_all():
    samples = overconfident(60)
    lonely = Samples(samples.logits, np.where(samples.truth == 3, -1, samples.truth), "softmax")
    fitted = fit(lonely)
    assert fitted.own[3] is False
    assert all(fitted.own[:3])
    assert len({threshold.threshold for threshold in fitted.thresholds}) > 1


def test_the_same_seed_gives_the_same_figures():
    samples = overconfident(120)
    assert calibrate(samples, seed=7) == calibrate(samples, seed=7)
