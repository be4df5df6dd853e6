from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_worlds import in_blocks, shown, worlds

from clipcli.core.vectors import unit_length
from clipcli.engines import torch_search
from clipcli.engines.torch_search import TorchKernel
from clipcli.errors import DeviceError
from clipcli.tasks.search.flat import SearchLimits, UnusableRowError, search


def quiet(_words):
    raise AssertionError(_words)


@st.composite
def questions(draw):
    """A world with rows that do not count, for one query or for all."""
    queries, corpus, names = draw(worlds())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    skip = [np.unique(rng.integers(0, len(corpus), rng.integers(0, 5))) for _ in queries]
    allowed = rng.random(len(corpus)) < draw(st.sampled_from([0.5, 1.0]))
    stored = corpus.astype(draw(st.sampled_from([np.float16, np.float32])))
    return queries, stored.astype(np.float32), names, skip, allowed


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(
    questions(), st.integers(1, 70), st.one_of(st.none(), st.integers(1, 70)), st.sampled_from([-2.0, 0.0, 0.3]),
    st.sampled_from([1, 40, 5000, 20_000, 1 << 26]),
)  # fmt: skip
def test_hits_are_those_of_the_cpu_to_the_bit(question, size, top, floor, at_once):
    queries, corpus, names, skip, allowed = question
    wanted = SearchLimits(top, np.full(len(queries), floor, np.float32), skip, allowed)
    kernel = TorchKernel("cpu", quiet, at_once)
    expected = search(queries, in_blocks(corpus, 1000), wanted, names)
    assert shown(search(queries, in_blocks(corpus, size), wanted, names, kernel)) == shown(expected)


def many(seed=0):
    rng = np.random.default_rng(seed)
    return unit_length(rng.standard_normal((300, 64))), unit_length(rng.standard_normal((5000, 64)))


def test_many_queries_over_many_blocks_in_parts_of_both():
    queries, corpus = many()
    corpus.flags.writeable = False  # as a mapped file is
    kernel = TorchKernel("cpu", quiet, 1 << 18)
    found = search(queries, in_blocks(corpus, 999), SearchLimits(7), None, kernel)
    assert shown(found) == shown(search(queries, in_blocks(corpus, 512), SearchLimits(7)))


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "not finite"), (0.0, "is zero")])
def test_rows_that_lie_are_refused(value, reason):
    queries, corpus = many()
    corpus[57] = value
    with pytest.raises(UnusableRowError, match=f"row 57 .*{reason}"):
        search(queries, in_blocks(corpus, 30), SearchLimits(3), None, TorchKernel("cpu", quiet, 1 << 16))


@pytest.mark.parametrize("times", [1, 2, 100])
def test_a_full_device_is_given_less_and_then_left(monkeypatch, times):
    """Full at first, or always: the hits stay the same, and only the end is spoken of, once."""
    queries, corpus = many()
    propose, said, calls = TorchKernel._propose, [], []

    def full(self, asked):
        calls.append(self.products_at_once)
        if len(calls) <= times:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return propose(self, asked)

    monkeypatch.setattr(TorchKernel, "_propose", full)
    kernel = TorchKernel("cpu", said.append, 1 << 22)
    found = search(queries, in_blocks(corpus, 999), SearchLimits(7), None, kernel)
    assert shown(found) == shown(search(queries, in_blocks(corpus, 999), SearchLimits(7)))
    assert calls[: times + 1] == [1 << 22, 1 << 20, 1 << 18][: times + 1]
    assert said == (["the memory of cpu is full; searching on the CPU"] if times > 2 else [])


def test_a_device_that_fails_is_left(monkeypatch):
    def fail(_self, _asked):
        raise RuntimeError("CUDA error: no kernel image is available\nand more lines")

    said = []
    monkeypatch.setattr(TorchKernel, "_propose", fail)
    queries, corpus = many()
    found = search(queries, in_blocks(corpus, 999), SearchLimits(7), None, TorchKernel("cpu", said.append))
    assert shown(found) == shown(search(queries, in_blocks(corpus, 999), SearchLimits(7)))
    assert said == ["cpu failed (CUDA error: no kernel image is available); searching on the CPU"]


def test_a_device_of_coarse_products_is_left(monkeypatch):
    """As with TF32: ten bits of every number."""
    exact = TorchKernel._tensor
    coarse = np.uint32(0xFFFFE000)
    monkeypatch.setattr(TorchKernel, "_tensor", lambda self, v: exact(self, (v.view(np.uint32) & coarse).view("f4")))
    said, (queries, corpus) = [], many()
    found = search(queries, in_blocks(corpus, 999), SearchLimits(7), None, TorchKernel("cpu", said.append))
    assert shown(found) == shown(search(queries, in_blocks(corpus, 999), SearchLimits(7)))
    assert said == ["cpu rounds products too coarsely; searching on the CPU"]


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch_search, "resolve_device", _absent)
    with pytest.raises(DeviceError, match="no CUDA device"):
        TorchKernel("cuda", quiet)


def _absent(_asked):
    raise DeviceError("no CUDA device here")
