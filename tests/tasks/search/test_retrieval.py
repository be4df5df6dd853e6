from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.core.vectors import unit_length
from clipcli.tasks.search.flat import SearchLimits, search
from clipcli.tasks.search.retrieval import Relevant, evaluate, relevant_ranks


def ranks(*found):
    return [np.array(some, np.int64) for some in found]


def test_recall_median_rank_and_map_by_hand():
    figures = evaluate(ranks([1], [3], [8], [40]))
    assert figures.recall == {1: 0.25, 5: 0.5, 10: 0.75}
    assert figures.median_rank == 5.5
    assert figures.mean_average_precision == pytest.approx((1 + 1 / 3 + 1 / 8 + 1 / 40) / 4)


def test_several_relevant_rows():
    figures = evaluate(ranks([1, 3], [2, 4, 6]), depths=(1, 2))
    assert figures.recall == {1: 0.5, 2: 1.0}
    assert figures.median_rank == 1.5
    assert figures.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + (1 / 2 + 2 / 4 + 3 / 6) / 3) / 2)


def test_a_query_whose_rows_are_all_gone_is_not_found():
    figures = evaluate(ranks([1], []))
    assert figures.recall[10] == 0.5
    assert figures.mean_average_precision == 0.5
    assert figures.median_rank == np.inf


def test_no_queries():
    assert evaluate([]).queries == 0


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(1, 60))
def test_counted_ranks_are_those_of_a_full_search(seed, count, size):
    rng = np.random.default_rng(seed)
    distinct = unit_length(rng.standard_normal((8, 16)))
    corpus = distinct[rng.integers(0, 8, count)]
    queries = unit_length(rng.standard_normal((3, 16)))
    names = [f"{rng.integers(0, 5)}" for _ in corpus]
    rows = [np.unique(rng.integers(0, count, 4)) for _ in queries]
    blocks = [(start, corpus[start : start + size]) for start in range(0, count, size)]
    found = relevant_ranks(Relevant(queries, rows, [corpus[some] for some in rows]), blocks, names.__getitem__)
    whole = search(queries, blocks, SearchLimits(None), names)
    for own, hits, some in zip(found, whole, rows, strict=True):
        place = {row: rank for rank, row in enumerate(hits.rows.tolist(), start=1)}
        assert own.tolist() == sorted(place[row] for row in some.tolist())


def test_rows_that_cannot_be_read_are_missed_by_the_precision_too():
    figures = evaluate(ranks([1, 3], []), depths=(1,), relevant=[4, 2])
    assert figures.mean_average_precision == pytest.approx((1 + 2 / 3) / 4 / 2)


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 50), st.integers(1, 60))
def test_rows_that_are_no_hits_have_no_rank(seed, count, size):
    rng = np.random.default_rng(seed)
    corpus = unit_length(rng.standard_normal((8, 16)))[rng.integers(0, 8, count)]
    queries = unit_length(rng.standard_normal((3, 16)))
    names = [f"{rng.integers(0, 5)}" for _ in corpus]
    excluded = [np.unique(rng.integers(0, count, some)) for some in (0, 1, 3)]
    rows = [np.setdiff1d(np.arange(count), hidden)[: 1 + rng.integers(0, 3)] for hidden in excluded]
    blocks = [(start, corpus[start : start + size]) for start in range(0, count, size)]
    found = relevant_ranks(
        Relevant(queries, rows, [corpus[some] for some in rows], excluded), blocks, names.__getitem__
    )
    whole = search(queries, blocks, SearchLimits(None, excluded=excluded), names)
    for own, hits, some in zip(found, whole, rows, strict=True):
        place = {row: rank for rank, row in enumerate(hits.rows.tolist(), start=1)}
        assert own.tolist() == sorted(place[row] for row in some.tolist())
