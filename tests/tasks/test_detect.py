"""Windows that cover a picture, suppression of overlapping boxes, and boxes from the scores of windows."""

from __future__ import annotations

import numpy as np
import pytest

from clipcli.tasks.detect import WindowGrid, boxes_of_windows, joined, overlaps, propose_windows, suppress


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (100, 100), (2000, 40), (7, 9), (1, 1), (17, 300)])
def test_windows_lie_in_the_picture_and_cover_it(size: tuple[int, int]):
    width, height = size
    boxes = propose_windows(width, height)
    assert boxes[0].tolist() == [0, 0, width, height]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [width, height]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    squares = boxes[1:] if len(boxes) > 1 else boxes
    covered = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in squares:
        covered[y0:y1, x0:x1] = True
    assert covered.all()


def test_the_best_of_boxes_that_overlap_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60], [2, 2, 6, 6], [55, 50, 65, 60]])
    scores = np.array([0.7, 0.9, 0.6, 0.8, 0.5], np.float32)
    assert suppress(boxes, scores) == [1, 2]
    assert suppress(boxes, scores, overlap=0.9) == [1, 2, 4]
    assert suppress(boxes[:0], scores[:0]) == []


def test_equal_scores_go_by_their_order():
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [9, 9, 12, 12]])
    assert suppress(boxes, np.ones(3, np.float32)) == [0, 2]


def test_overlaps_are_shares():
    union, smaller = overlaps(np.array([0, 0, 10, 10]), np.array([[5, 0, 15, 10], [0, 0, 5, 5], [20, 20, 30, 30]]))
    np.testing.assert_allclose(union, [1 / 3, 0.25, 0.0])
    np.testing.assert_allclose(smaller, [0.5, 1.0, 0.0])


def scores_of(windows: np.ndarray, thing: tuple[int, int, int, int]) -> np.ndarray:
    """A model that sees how much of a window the thing fills, and how much of the thing is in the window."""
    low, high = np.maximum(windows[:, :2], thing[:2]), np.minimum(windows[:, 2:], thing[2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    x0, y0, x1, y1 = thing
    return np.sqrt(shared / (windows[:, 2:] - windows[:, :2]).prod(axis=1) * shared / ((x1 - x0) * (y1 - y0)))


@pytest.mark.parametrize("thing", [(40, 60, 180, 200), (300, 20, 460, 200), (200, 100, 330, 220), (0, 0, 150, 130)])
def test_a_box_covers_its_thing(thing: tuple[int, int, int, int]):
    windows = propose_windows(480, 360)
    scores = scores_of(windows, thing)[:, None].astype(np.float32)
    found = boxes_of_windows(windows, scores, (480, 360), 0.3)
    assert overlaps(np.array(thing), found.boxes[:1])[0][0] > 0.45
    assert found.scores[0] == pytest.approx(scores.max())


def test_two_things_of_a_label_are_two_boxes_and_another_label_is_its_own():
    windows = propose_windows(480, 360)
    things = [(20, 20, 150, 150), (300, 180, 440, 330)]
    apples = np.maximum(scores_of(windows, things[0]), scores_of(windows, things[1]))
    pears = scores_of(windows, (330, 10, 460, 120)) * 0.8
    scores = np.stack([apples, pears], axis=1).astype(np.float32)
    found = boxes_of_windows(windows, scores, (480, 360), 0.4)
    assert sorted(found.labels.tolist()) == [0, 0, 1]
    shares = [overlaps(np.array(thing), found.boxes[found.labels == 0])[0].max() for thing in things]
    assert min(shares) > 0.5
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_of_two_labels_in_one_place_the_better_stays_unless_both_may():
    windows = propose_windows(300, 300)
    one = scores_of(windows, (60, 60, 200, 200))
    scores = np.stack([one, one * 0.9], axis=1).astype(np.float32)
    assert boxes_of_windows(windows, scores, (300, 300), 0.2).labels.tolist() == [0]
    assert boxes_of_windows(windows, scores, (300, 300), 0.2, multi_label=True).labels.tolist() == [0, 1]


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (2000, 40), (40, 2000), (33, 81)])
def test_boxes_lie_in_pictures_of_any_shape(size: tuple[int, int]):
    windows = propose_windows(*size)
    scores = np.random.default_rng(0).random((len(windows), 2)).astype(np.float32)
    found = boxes_of_windows(windows, scores, size, 0.0)
    assert len(found.boxes) > 0
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= size).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert len(boxes_of_windows(windows, scores, size, 1.0).boxes) == 0
    assert len(boxes_of_windows(windows, np.zeros_like(scores), size, 0.0).boxes) == 0


def test_a_cell_is_the_mean_of_the_windows_over_it():
    boxes = np.array([[0, 0, 4, 4], [0, 0, 2, 2]])
    grid = WindowGrid.of(boxes, 4, 4)
    mean = grid.mean(np.array([0.5, 1.0], np.float32))
    assert mean.shape == (4, 4)
    assert mean[3, 3] == pytest.approx(0.5)
    assert mean[0, 0] == pytest.approx((0.5 * 0.25 + 1.0) / 1.25)


def test_joined_cells_are_those_that_touch():
    cells = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]], bool)
    np.testing.assert_array_equal(joined(cells, (0, 0)), [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
