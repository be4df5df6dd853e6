"""Threads and batches of the image pipeline: order, memory, failures, streaming; no real model is needed."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import numpy as np
import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run import run_script

from clipcli.cache import EmbeddingCache, NoCache
from clipcli.core.encoder import Preprocessing
from clipcli.inputs.collect import ImageRef
from clipcli.session.pipeline import Batcher, ImagePipeline
from clipcli.session.prepare import Preparation, SessionOptions, Timings

HOW = Preprocessing((8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Recorder:
    """A model that sums colours up and remembers how it was called."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: set[str] = set()

    lanes = row_multiple = 1

    def encode_images(self, pixels: np.ndarray) -> np.ndarray:
        self.batches.append(len(pixels))
        self.threads.add(threading.current_thread().name)
        return pixels.mean(axis=(2, 3))


def pipeline(model, cache=None, **options):
    preparation = Preparation(HOW, "m/fp32", cache or NoCache(), Timings(), SessionOptions(**options))
    return ImagePipeline(preparation, model, workers=3)


@pytest.fixture
def refs(tmp_path: Path) -> list[ImageRef]:
    """Thirty images, every fifth of them broken."""
    made = []
    for number in range(30):
        path = tmp_path / f"{number:02}.png"
        if number % 5 == 2:
            path.write_bytes(b"broken")
        else:
            pictures.disc(("red", "green", "blue")[number % 3], (20 + number, 20)).save(path)
        made.append(ImageRef(str(path), path.name))
    return made


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_results_come_in_order_and_do_not_depend_on_batches(refs, batch_size):
    model = Recorder()
    results = list(pipeline(model).run(refs, batch_size))
    assert [result.ref for result in results] == refs
    assert [result.error is not None for result in results] == [number % 5 == 2 for number in range(30)]
    assert all(size <= batch_size for size in model.batches)
    assert sum(model.batches) == 24
    whole = [result.vector for result in pipeline(Recorder()).run(refs, 24)]
    for ours, theirs in zip(results, whole, strict=True):
        np.testing.assert_array_equal(ours.vector, theirs)


def test_full_batches_although_some_images_are_bad(refs):
    model = Recorder()
    list(pipeline(model).run(refs, 6))
    assert model.batches == [6, 6, 6, 6]


def test_one_content_is_encoded_once_a_batch(refs):
    model = Recorder()
    results = list(pipeline(model).run([refs[0]] * 10 + refs[:2], 4))
    assert sum(model.batches) == 2
    assert {result.digest for result in results[:11]} == {hashlib.sha256(Path(refs[0].path).read_bytes()).hexdigest()}


def test_known_images_wait_for_those_before_them(refs, tmp_path):
    with EmbeddingCache.open(tmp_path / "cache", say=pytest.fail) as cache:
        list(pipeline(Recorder(), cache).run(refs[10:20], 4))
        model = Recorder()
        running = pipeline(model, cache)
        results = list(running.run(refs, 4))
        assert [result.ref for result in results] == refs
        assert sum(model.batches) == 16
        assert (running.preparation.timings.encoded, running.preparation.timings.cached) == (16, 8)


def test_a_few_new_images_do_not_hold_back_many_known_ones(refs, tmp_path):
    with EmbeddingCache.open(tmp_path / "cache", say=pytest.fail) as cache:
        list(pipeline(Recorder(), cache).run(refs[1:2], 4))
        asked: list[int] = []

        def many():
            yield refs[0]
            for number in range(10_000):
                asked.append(number)
                yield refs[1]

        stream = pipeline(Recorder(), cache).run(many(), 4)
        assert next(stream).ref == refs[0]
        assert len(asked) < 200
        stream.close()


def test_a_slow_list_gives_its_first_results_at_once(refs):
    gate = threading.Event()

    def slow():
        yield from refs[:2]
        assert gate.wait(30)
        yield refs[3]

    stream = pipeline(Recorder()).run(slow(), 16)
    assert [next(stream).ref, next(stream).ref] == refs[:2]
    gate.set()
    assert [result.ref for result in stream] == [refs[3]]


def test_memory_is_bounded(refs):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield refs[0]

    stream = pipeline(Recorder()).run(endless(), 4)
    next(stream)
    assert len(asked) < 100
    stream.close()


def test_what_the_list_raises_comes_after_what_it_gave(refs):
    def failing():
        yield refs[0]
        raise LookupError("no more")

    stream = pipeline(Recorder()).run(failing(), 4)
    assert next(stream).ref == refs[0]
    with pytest.raises(LookupError):
        next(stream)


def test_what_the_model_raises_ends_the_run(refs):
    class Broken(Recorder):
        def encode_images(self, pixels: np.ndarray) -> np.ndarray:
            raise RuntimeError(f"model with {len(pixels)}")

    with pytest.raises(RuntimeError, match="model"):
        list(pipeline(Broken()).run(refs, 4))


def test_the_model_works_in_one_thread_of_its_own(refs):
    model = Recorder()
    list(pipeline(model).run(refs, 2))
    assert len(model.threads) == 1
    assert threading.current_thread().name not in model.threads


def test_fast_decoding_comes_close_and_is_kept_apart(tmp_path):
    photo = pictures.disc("red", (900, 700))
    photo.save(tmp_path / "a.jpg", quality=90)
    ref = ImageRef(str(tmp_path / "a.jpg"), "a.jpg")
    exact, fast = (next(pipeline(Recorder(), fast_decode=fast).run([ref], 1)).vector for fast in (False, True))
    np.testing.assert_allclose(exact, fast, atol=0.02)


TIMEOUT_S = 20


class NumberModel:
    """Encodes each image as its number; `together` batches have to be in progress before any of them returns."""

    def __init__(self, together: int = 1) -> None:
        self.sizes: list[int] = []
        self.meeting = threading.Barrier(together)

    def __call__(self, digests: list[str], pixels: np.ndarray) -> list[np.ndarray]:
        self.sizes.append(len(digests))
        self.meeting.wait(TIMEOUT_S)
        assert [str(int(value)) for value in pixels[:, 0, 0, 0]] == digests
        return [np.array([float(digest)], np.float32) for digest in digests]


def open_batcher(model, batch_size=8, lanes=2, finished=lambda: None) -> Batcher:
    return Batcher(model, batch_size, lambda: lanes, finished, row_multiple=4)


def add(batcher: Batcher, *numbers: int) -> list:
    return [batcher.add(str(number), np.full((3, 1, 1), number, np.float32)) for number in numbers]


def values(futures) -> list[float]:
    return [float(future.result(TIMEOUT_S)[0]) for future in futures]


def test_two_batches_are_encoded_at_the_same_time():
    model = NumberModel(together=2)
    batcher = open_batcher(model)
    assert values(add(batcher, *range(16))) == list(range(16))
    assert model.sizes == [8, 8]
    batcher.close()


def test_a_last_batch_is_split_between_idle_lanes():
    model = NumberModel(together=2)
    batcher = open_batcher(model)
    futures = add(batcher, *range(8))
    assert values(futures) == list(range(8))
    assert sorted(model.sizes) == [4, 4]
    batcher.close()


def test_a_partial_batch_waits_until_it_is_flushed():
    model = NumberModel()
    batcher = open_batcher(model)
    futures = add(batcher, 1, 2, 3)
    time.sleep(0.1)
    assert model.sizes == []
    assert batcher.has_waiting
    batcher.flush()
    assert values(futures) == [1, 2, 3]
    more = add(batcher, 4)
    time.sleep(0.1)
    assert not more[0].done(), "a flush is for what was queued before it"
    batcher.close()


def test_an_idle_lane_does_not_wait_for_a_busy_one():
    begun, go = threading.Event(), threading.Event()
    sizes = []

    def model(digests, _pixels):
        sizes.append(len(digests))
        if "0" in digests:
            begun.set()
            assert go.wait(TIMEOUT_S)
        return [np.zeros(1, np.float32)] * len(digests)

    batcher = open_batcher(model, batch_size=4)
    slow = add(batcher, 0, 1, 2, 3)
    batcher.flush()
    assert begun.wait(TIMEOUT_S)
    quick = add(batcher, 4, 5, 6, 7)
    assert len(values(quick)) == 4
    assert not slow[0].done()
    go.set()
    assert len(values(slow)) == 4
    batcher.close()


def test_equal_content_is_queued_once():
    model = NumberModel()
    batcher = open_batcher(model, lanes=1)
    first, second, other = add(batcher, 1, 1, 2)
    assert first is second
    batcher.flush()
    assert values([first, other]) == [1, 2]
    assert sum(model.sizes) == 2
    batcher.close()


def test_the_number_of_lanes_may_grow():
    lane_count = [1]
    model = NumberModel()
    batcher = Batcher(model, 2, lambda: lane_count[0], lambda: None)
    values(add(batcher, 0, 1))
    lane_count[0] = 3
    model.meeting = threading.Barrier(3)
    assert values(add(batcher, *range(2, 8))) == list(range(2, 8))
    batcher.close()


def test_an_error_of_the_model_fails_its_batch_only():
    def model(digests, _pixels):
        if "3" in digests:
            raise LookupError("three")
        return [np.zeros(1, np.float32)] * len(digests)

    batcher = open_batcher(model, batch_size=2, lanes=1)
    futures = add(batcher, 0, 1, 2, 3, 4, 5)
    values(futures[:2] + futures[4:])
    with pytest.raises(LookupError, match="three"):
        futures[2].result(TIMEOUT_S)
    batcher.close()


def test_close_ends_the_threads_and_encodes_nothing_more():
    model, before = NumberModel(), set(threading.enumerate())
    batcher = open_batcher(model)
    futures = add(batcher, 1, 2)
    batcher.close()
    until = time.monotonic() + TIMEOUT_S
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before
    assert (model.sizes, futures[0].done()) == ([], False)


@pytest.mark.thorough
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 9), st.integers(1, 4))
def test_every_image_gets_its_own_vector(numbers: list[int], batch_size: int, count: int):
    model = NumberModel()
    batcher = open_batcher(model, batch_size, count)
    futures = add(batcher, *numbers)
    batcher.flush()
    assert values(futures) == numbers
    assert max(model.sizes, default=0) <= batch_size
    batcher.close()


LEFT_OPEN = """
import numpy as np
from clipcli.session.pipeline import Batcher

def encode(digests, pixels):
    return [np.zeros(1, np.float32)] * len(digests)

batcher = Batcher(encode, 2, lambda: 2, lambda: None)
futures = [batcher.add(str(number), np.zeros((3, 1, 1), np.float32)) for number in range(3)]
futures[0].result()
print("out")
"""


def test_python_exits_with_an_open_batcher():
    done = run_script(LEFT_OPEN)
    assert (done.stdout, done.code) == ("out\n", 0), done.stderr
