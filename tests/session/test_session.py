"""One path to vectors: what is kept, what is computed once, what happens when out of memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pictures
import pytest

from clipcli.cache import EmbeddingCache, NoCache
from clipcli.core.console import Console
from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.core.vectors import unit_length
from clipcli.errors import DeviceError
from clipcli.images import Rendering
from clipcli.inputs.collect import ImageRef
from clipcli.prompts import Label, load_prompts
from clipcli.session.prepare import SessionOptions
from clipcli.session.session import Session

if TYPE_CHECKING:
    from pathlib import Path

INFO = ModelInfo("stand-in", "0123456789ab", 3, Preprocessing((4, 4), (0, 0, 0), (1, 1, 1)), 8, causal_text=True)


@dataclass
class StandIn:
    """A model whose image vector is the mean colour, and whose text vector counts letters; it may run out of memory."""

    fits: int = 1000
    calls: list[int] = field(default_factory=list)
    info, scoring, precision, device, runs_on_gpu = INFO, Scoring(100.0), "fp32", "cpu", False
    is_loaded, image_lanes, text_lanes, vectors_key = True, 1, 1, INFO.fingerprint

    @property
    def encoder(self) -> StandIn:
        return self

    def encode_images(self, pixels: np.ndarray) -> np.ndarray:
        self.calls.append(len(pixels))
        if len(pixels) > self.fits:
            raise MemoryError
        return 5 * pixels.mean(axis=(2, 3))

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        self.calls.append(len(texts))
        if len(texts) > self.fits:
            raise MemoryError
        return np.array([[text.count("a") + 1, text.count("b"), len(text)] for text in texts], np.float32)

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) + 2 for text in texts]


def session(model: StandIn, cache: EmbeddingCache | NoCache | None = None, **options: object) -> Session:
    return Session(model, cache or NoCache(), Console(), SessionOptions(**options))


@pytest.fixture
def refs(tmp_path: Path) -> list[ImageRef]:
    made = []
    for number in range(20):
        path = tmp_path / f"{number:02}.png"
        pictures.disc("red", (20 + number, 30)).save(path)
        made.append(ImageRef(str(path), path.name))
    return made


@pytest.fixture
def cache(tmp_path: Path):
    with EmbeddingCache.open(tmp_path / "cache", say=pytest.fail) as opened:
        yield opened


def test_batches_are_halved_once_for_the_rest_of_the_run(refs, capsys):
    model = StandIn(fits=3)
    small = session(model, batch_size=8)
    vectors = [result.vector for result in small.embed_images(refs)]
    assert model.calls == [8, 4, *[2] * 10]
    assert small.batch_size == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
    assert [line.partition("batches of ")[2].split()[0] for line in said] == ["4", "2"]
    whole = [result.vector for result in session(StandIn()).embed_images(refs)]
    np.testing.assert_array_equal(vectors, whole)


def test_one_image_that_does_not_fit_ends_the_run(refs):
    with pytest.raises(DeviceError, match="one image does not fit into the memory of cpu"):
        list(session(StandIn(fits=0), batch_size=4).embed_images(refs))


def test_texts_that_do_not_fit_are_halved_too(capsys, monkeypatch):
    monkeypatch.setattr("clipcli.session.batches.TEXT_BATCH", 8)
    model = StandIn(fits=3)
    texts = ["a" * length for length in range(12, 0, -1)]
    small = session(model)
    vectors = small.embed_texts(texts)
    assert model.calls == [8, 4, *[2] * 6]
    np.testing.assert_array_equal(vectors, session(StandIn()).embed_texts(texts))
    assert "continuing with batches of 2 texts" in capsys.readouterr().err


def test_a_batch_that_waits_behind_one_that_does_not_fit_ends_too():
    """It is in the model's thread already, and Python does not exit before that thread is done."""
    small = session(StandIn(fits=0), batch_size=4)
    for _ in range(2):
        with pytest.raises(DeviceError, match="one image does not fit"):
            small._encoder.encode_images(np.zeros((4, 3, 2, 2), np.float32))
        assert small.batch_size == 1


def test_texts_are_encoded_once_and_kept(cache):
    model = StandIn()
    texts = ["a", "b", "a", "aab"]
    first = session(model, cache).embed_texts(texts)
    assert model.calls == [3]
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(first[0], first[2])
    again = session(model, cache)
    np.testing.assert_array_equal(again.embed_texts([*texts, "new"])[:4], first)
    assert model.calls == [3, 1]
    assert (again.timings.encoded, again.timings.cached) == (1, 4)


def test_no_texts(cache):
    assert session(StandIn(), cache).embed_texts([]).shape == (0, 3)


def test_a_label_is_the_mean_of_its_unit_prompts_and_kept_as_one_vector(cache, tmp_path):
    (tmp_path / "two.txt").write_text("a {}\nthe {} b\n")
    prompts = load_prompts([str(tmp_path / "two.txt")])
    labels = [Label("cat", ("cat", "kitty")), Label("dog", ("dog",))]
    model = StandIn()
    vectors = session(model, cache).embed_labels(labels, prompts)
    raw = StandIn().encode_texts(["a cat", "the cat b", "a kitty", "the kitty b"])
    np.testing.assert_allclose(vectors[0], unit_length(unit_length(raw).mean(axis=0)), atol=1e-6)
    calls = list(model.calls)
    np.testing.assert_array_equal(session(model, cache).embed_labels(labels[::-1], prompts)[::-1], vectors)
    assert model.calls == calls
    session(model, cache).embed_labels([Label("cat", ("cat",))], prompts)
    assert len(model.calls) > len(calls)


def test_raw_vectors_are_the_towers_own_and_kept_apart(cache, refs):
    unit, raw = session(StandIn(), cache), session(StandIn(), cache, raw=True)
    np.testing.assert_array_equal(raw.embed_texts(["aab"]), [[3, 1, 3]])
    np.testing.assert_allclose(unit.embed_texts(["aab"]), unit_length(np.array([[3, 1, 3]])), atol=1e-6)
    ours, theirs = (next(one.embed_images(refs[:1])).vector for one in (unit, raw))
    assert np.linalg.norm(theirs) > 1.5
    np.testing.assert_allclose(unit_length(theirs), ours, atol=1e-6)


def test_other_ways_to_read_an_image_are_kept_apart():
    options = [
        {}, {"orient": False}, {"fast_decode": True}, {"raw": True}, {"orient": False, "fast_decode": True},
        {"rendering": Rendering((0, 0, 0))}, {"rendering": Rendering(bare=True)},
    ]  # fmt: skip
    assert len({session(StandIn(), **each).image_space for each in options}) == 7


def test_a_text_that_is_cut_is_said_once(capsys):
    long = session(StandIn())
    long.embed_texts(["one two three four five six seven", "short"])
    long.embed_texts(["nine ten eleven twelve thirteen fourteen fifteen"])
    said = capsys.readouterr().err
    assert said.count("longer than the model's 8 tokens") == 1
    assert "'one two three" in said
