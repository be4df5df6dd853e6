"""Windows that cover a picture, and boxes that stay when they overlap."""

from __future__ import annotations

import numpy as np
import pytest

from clipcli.tasks.detect import overlaps, propose_windows, suppress


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
