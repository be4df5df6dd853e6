"""Threads and batches: order, memory, failures, streaming; no model is needed for these."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np
import pictures
import pytest

from clipcli.cache import EmbeddingCache, NoCache
from clipcli.core.encoder import Preprocessing
from clipcli.inputs.collect import ImageRef
from clipcli.session.pipeline import ImagePipeline
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
