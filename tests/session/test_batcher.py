"""Batches side by side: who takes what, when, and what comes of it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run import run_script

from clipcli.session.pipeline import Batcher

PATIENCE = 20


class Model:
    """Gives each content its number; a batch may have to wait until others are there as well."""

    def __init__(self, together: int = 1) -> None:
        self.sizes: list[int] = []
        self.meeting = threading.Barrier(together)

    def __call__(self, digests: list[str], pixels: np.ndarray) -> list[np.ndarray]:
        self.sizes.append(len(digests))
        self.meeting.wait(PATIENCE)
        assert [str(int(one)) for one in pixels[:, 0, 0, 0]] == digests
        return [np.array([float(digest)], np.float32) for digest in digests]


def opened(model, batch_size=8, lanes=2, finished=lambda: None) -> Batcher:
    return Batcher(model, batch_size, lambda: lanes, finished, row_multiple=4)


def add(lanes: Batcher, *numbers: int) -> list:
    return [lanes.add(str(number), np.full((3, 1, 1), number, np.float32)) for number in numbers]


def values(futures) -> list[float]:
    return [float(future.result(PATIENCE)[0]) for future in futures]


def test_two_batches_are_with_the_model_at_the_same_time():
    model = Model(together=2)
    lanes = opened(model)
    assert values(add(lanes, *range(16))) == list(range(16))
    assert model.sizes == [8, 8]
    lanes.close()


def test_a_batch_that_nothing_follows_is_shared_by_the_lanes_that_are_idle():
    model = Model(together=2)
    lanes = opened(model)
    futures = add(lanes, *range(8))
    assert values(futures) == list(range(8))
    assert sorted(model.sizes) == [4, 4]
    lanes.close()


def test_less_than_a_batch_waits_for_more_until_there_is_a_hurry():
    model = Model()
    lanes = opened(model)
    futures = add(lanes, 1, 2, 3)
    time.sleep(0.1)
    assert model.sizes == []
    assert lanes.has_waiting
    lanes.flush()
    assert values(futures) == [1, 2, 3]
    more = add(lanes, 4)
    time.sleep(0.1)
    assert not more[0].done(), "the hurry was over"
    lanes.close()


def test_a_lane_that_is_free_does_not_wait_for_one_that_is_not():
    begun, go = threading.Event(), threading.Event()
    sizes = []

    def model(digests, _pixels):
        sizes.append(len(digests))
        if "0" in digests:
            begun.set()
            assert go.wait(PATIENCE)
        return [np.zeros(1, np.float32)] * len(digests)

    lanes = opened(model, batch_size=4)
    slow = add(lanes, 0, 1, 2, 3)
    lanes.flush()
    assert begun.wait(PATIENCE)
    quick = add(lanes, 4, 5, 6, 7)
    assert len(values(quick)) == 4
    assert not slow[0].done()
    go.set()
    assert len(values(slow)) == 4
    lanes.close()


def test_one_content_is_seen_once_while_it_waits():
    model = Model()
    lanes = opened(model, lanes=1)
    first, second, other = add(lanes, 1, 1, 2)
    assert first is second
    lanes.flush()
    assert values([first, other]) == [1, 2]
    assert sum(model.sizes) == 2
    lanes.close()


def test_there_may_be_more_lanes_later():
    wanted = [1]
    model = Model()
    lanes = Batcher(model, 2, lambda: wanted[0], lambda: None)
    values(add(lanes, 0, 1))
    wanted[0] = 3
    model.meeting = threading.Barrier(3)
    assert values(add(lanes, *range(2, 8))) == list(range(2, 8))
    lanes.close()


def test_what_the_model_raises_is_raised_by_its_batch_and_no_other():
    def model(digests, _pixels):
        if "3" in digests:
            raise LookupError("three")
        return [np.zeros(1, np.float32)] * len(digests)

    lanes = opened(model, batch_size=2, lanes=1)
    futures = add(lanes, 0, 1, 2, 3, 4, 5)
    values(futures[:2] + futures[4:])
    with pytest.raises(LookupError, match="three"):
        futures[2].result(PATIENCE)
    lanes.close()


def test_after_the_end_no_thread_is_left_and_nothing_is_begun():
    model, before = Model(), set(threading.enumerate())
    lanes = opened(model)
    futures = add(lanes, 1, 2)
    lanes.close()
    until = time.monotonic() + PATIENCE
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before
    assert (model.sizes, futures[0].done()) == ([], False)


@pytest.mark.thorough
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 9), st.integers(1, 4))
def test_every_image_gets_its_own_vector(numbers: list[int], batch_size: int, count: int):
    model = Model()
    lanes = opened(model, batch_size, count)
    futures = add(lanes, *numbers)
    lanes.flush()
    assert values(futures) == numbers
    assert max(model.sizes, default=0) <= batch_size
    lanes.close()


LEFT_OPEN = """
import numpy as np
from clipcli.session.pipeline import Batcher

def encode(digests, pixels):
    return [np.zeros(1, np.float32)] * len(digests)

lanes = Batcher(encode, 2, lambda: 2, lambda: None)
futures = [lanes.add(str(number), np.zeros((3, 1, 1), np.float32)) for number in range(3)]
futures[0].result()
print("out")
"""


def test_python_exits_although_nobody_closed_the_lanes():
    done = run_script(LEFT_OPEN)
    assert (done.stdout, done.code) == ("out\n", 0), done.stderr
