"""Curves against figures worked out one threshold at a time."""

from __future__ import annotations

import numpy as np
import pytest

from clipcli.tasks.calibrate import Samples, calibration_error
from clipcli.tasks.curves import label_curves, overall_curve, precision_recall, reliability


def samples(*, multi_label: bool, images: int = 60, labels: int = 3) -> Samples:
    generator = np.random.default_rng(4)
    truth = generator.integers(-1, labels, images)
    logits = generator.normal(0, 1, (images, labels)).round(1)  # some are equal
    logits[truth >= 0, truth[truth >= 0]] += 1
    return Samples(logits, truth, "sigmoid" if multi_label else "softmax", multi_label)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_gaps_of_the_bins_are_the_calibration_error(multi_label: bool):
    drawn = samples(multi_label=multi_label)
    bins = reliability(drawn)
    total = sum(each.count for each in bins)
    gaps = sum(each.count * abs(each.confidence - each.accuracy) for each in bins)
    assert gaps / total == pytest.approx(calibration_error(drawn))
    assert [each.confidence for each in bins] == sorted(each.confidence for each in bins)


def test_every_point_is_what_its_threshold_gives():
    generator = np.random.default_rng(5)
    scores, right = generator.random(80).round(1), generator.random(80) < 0.4
    curve = precision_recall(scores, right, int(right.sum()) + 7)
    assert curve.thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    for threshold, precision, recall in zip(curve.thresholds, curve.precision, curve.recall, strict=True):
        accepted = scores >= threshold
        assert precision == pytest.approx(right[accepted].mean())
        assert recall == pytest.approx(right[accepted].sum() / (right.sum() + 7))


def test_the_average_precision_is_that_of_the_textbook():
    curve = precision_recall(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]), 2)
    assert curve.average == pytest.approx((1 / 1 + 2 / 3) / 2)  # the mean of the precisions at the hits


def test_a_label_that_is_never_the_answer_has_no_curve():
    logits = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 2.0, 0.0]])
    curves = label_curves(Samples(logits, np.array([0, 1, 2]), "softmax"))
    assert [curve is None for curve in curves] == [False, False, True]
    assert overall_curve(Samples(logits, np.array([0, 1, 2]), "softmax")).recall[-1] == pytest.approx(2 / 3)
    assert precision_recall(np.array([0.5]), np.array([False]), 0) is None
