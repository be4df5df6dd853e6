from __future__ import annotations

import numpy as np
import pytest

from clipcli.core.vectors import unit_length
from clipcli.tasks.dedupe.levels import UNKNOWN_MODEL, is_known, measured, thresholds_of


def cone(count: int, shared: float) -> np.ndarray:
    """Vectors whose cosines crowd around shared² / (1 + shared²)."""
    return unit_length(np.random.default_rng(0).standard_normal((count, 128)) + shared)


@pytest.mark.parametrize("shared", [1.2, 1.5])
def test_each_picture_is_compared_with_a_few_strangers(shared):
    vectors = cone(3000, shared)
    found = measured(UNKNOWN_MODEL, vectors)
    strangers = ((vectors @ vectors.T >= found.candidate).sum() - 3000) / 3000
    assert 12 < strangers < 20
    assert 0.5 < found.candidate < 0.85
    assert found.similar == UNKNOWN_MODEL.similar


def test_copies_do_not_move_it():
    vectors = cone(3000, 1.2)
    vectors[1::2][:200] = vectors[::2][:200]
    assert measured(UNKNOWN_MODEL, vectors).candidate == pytest.approx(
        measured(UNKNOWN_MODEL, cone(3000, 1.2)).candidate, abs=0.01
    )


def test_it_is_never_above_the_fixed_value_nor_below_one_half():
    assert measured(UNKNOWN_MODEL, cone(500, 9.0)).candidate == UNKNOWN_MODEL.candidate
    assert measured(UNKNOWN_MODEL, cone(500, 0.0)).candidate == 0.5


def test_a_few_vectors_say_nothing():
    assert measured(UNKNOWN_MODEL, cone(99, 1.0)) is None


def test_measured_models_are_known():
    assert is_known("local-dir:models/surrogate")
    assert is_known("tiny")
    assert thresholds_of("tiny").similar < UNKNOWN_MODEL.similar
    assert not is_known("tiny-of-someone-else")
    assert thresholds_of("tiny-of-someone-else") == UNKNOWN_MODEL
