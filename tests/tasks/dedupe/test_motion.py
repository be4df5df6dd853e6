from __future__ import annotations

import numpy as np
import pytest

from clipcli.tasks.dedupe.motion import STILL, blurred, correlation, correlations, fit, move, move_all


def soft(count: int, side: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random((count, side, side), dtype=np.float32) * 255
    for _ in range(6):
        values = blurred(values)
    return (values - values.mean()) * 5 + 120


def motions(count: int, seed: int = 1) -> np.ndarray:
    return STILL + np.random.default_rng(seed).normal(0, 0.015, (count, 2, 3))


@pytest.mark.parametrize("side", [33, 64])
def test_a_motion_is_found_again(side):
    second, wanted = soft(6, side), motions(6)
    first, covered = move_all(second, wanted)
    found = fit(0.8 * first + 20, second, np.tile(STILL, (6, 1, 1)), 12)
    assert np.abs(found.motion - wanted).max() < 0.1 / side * 2
    assert found.value.min() > 0.995
    assert covered.mean() > 0.9


def test_a_stack_moves_as_its_pictures_do_one_by_one():
    """The verdict on two pictures must not depend on what they are compared beside."""
    first, second, begin = soft(20, 48), soft(20, 48, seed=2), motions(20)
    second[::2] = move_all(first, motions(20, seed=3))[0][::2]
    begin[3], first[5] = STILL, 90
    together = fit(first, second, begin, 5)
    for number in range(20):
        alone = fit(first[number : number + 1], second[number : number + 1], begin[number : number + 1], 5)
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one[number], other[0])
        moved, covered = move(second[number], together.motion[number])
        np.testing.assert_array_equal(moved, together.moved[number])
        np.testing.assert_array_equal(covered, together.covered[number])


def test_no_step_is_taken_that_correlates_worse():
    first, second = soft(8, 32), soft(8, 32, seed=9)
    begin = np.tile(STILL, (8, 1, 1))
    before = [correlation(one, other, np.ones((32, 32), bool)) for one, other in zip(first, second, strict=True)]
    assert (fit(first, second, begin, 4).value >= np.array(before) - 1e-6).all()


def test_correlations_are_those_of_each():
    first, second = soft(5, 40), soft(5, 40, seed=4)
    covered = np.random.default_rng(5).random((5, 40, 40)) < np.array([1, 0.9, 0.5, 0.1, 0])[:, None, None]
    first[1] = 7
    shown = np.array([np.count_nonzero(one) for one in covered])
    each = [correlation(*three) for three in zip(first, second, covered, strict=True)]
    np.testing.assert_allclose(correlations(first, second, covered, shown), each, atol=2e-6)
    assert each[1] == each[3] == each[4] == 0.0
