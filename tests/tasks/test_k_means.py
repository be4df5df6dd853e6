from __future__ import annotations

import numpy as np
import pytest

from clipcli.tasks.k_means import k_means, nearest_centres


def groups(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four groups of 50 vectors around far corners, and their numbers."""
    generator = np.random.default_rng(seed)
    corners = 5 * np.eye(4, 6)
    numbers = np.repeat(np.arange(4), 50)
    return (corners[numbers] + 0.1 * generator.standard_normal((200, 6))).astype(np.float32), numbers


@pytest.mark.parametrize("unit_length", [False, True])
def test_a_centre_is_the_mean_of_what_is_nearest_to_it(unit_length):
    sample, _ = groups()
    centres = k_means(sample, 12, 20, unit_length=unit_length)
    nearest = nearest_centres(sample, centres)
    for number in np.unique(nearest):
        mean = sample[nearest == number].mean(axis=0)
        mean = mean / np.linalg.norm(mean) if unit_length else mean
        np.testing.assert_allclose(centres[number], mean, atol=1e-4)
    assert np.array_equal(centres, k_means(sample, 12, 20, unit_length=unit_length))


def test_nearest_is_by_distance_and_not_by_product():
    centres = np.array([[1, 0], [9, 1]], np.float32)
    assert nearest_centres(np.array([[1.5, 0], [8, 0]], np.float32), centres).tolist() == [0, 1]


def test_there_are_no_more_centres_than_vectors():
    sample, _ = groups()
    assert len(k_means(sample[:3], 10, 2)) == 3
