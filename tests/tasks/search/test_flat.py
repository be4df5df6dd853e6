from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_worlds import in_blocks, shown, worlds

from clipcli.core.vectors import unit_length
from clipcli.tasks.search.flat import (
    BestRows,
    SearchLimits,
    UnusableRowError,
    exact_scores,
    product_error,
    rows_a_block,
    search,
)


def plainly(queries, corpus, names, top, *, floor=-2.0, skip=()):
    """Every score in float64, sorted as the documentation says."""
    found = []
    for query in queries:
        scores = [np.float32(query.astype(np.float64) @ row.astype(np.float64)) for row in corpus]
        order = sorted(
            (row for row in range(len(corpus)) if scores[row] >= floor and row not in skip),
            key=lambda row: (-scores[row], names[row], row),
        )[:top]
        found.append((order, [float(scores[row]) for row in order]))
    return found


@settings(max_examples=50, deadline=None)
@given(worlds(), st.integers(1, 70), st.one_of(st.none(), st.integers(1, 70)), st.sampled_from([-2.0, 0.0, 0.3]))
def test_equals_the_plain_way_for_any_block_size(world, size, top, floor):
    queries, corpus, names = world
    floors = np.full(len(queries), floor, np.float32)
    hits = search(queries, in_blocks(corpus, size), SearchLimits(top, floors), names)
    assert shown(hits) == plainly(queries, corpus, names, top, floor=floor)


@settings(max_examples=50, deadline=None)
@given(worlds(), st.integers(1, 70), st.integers(1, 9), st.sets(st.integers(0, 59)))
def test_rows_that_do_not_count(world, size, top, skip):
    queries, corpus, names = world
    skip = {row for row in skip if row < len(corpus)}
    allowed = np.array([row not in skip for row in range(len(corpus))])
    expected = plainly(queries, corpus, names, top, skip=skip)
    assert shown(search(queries, in_blocks(corpus, size), SearchLimits(top, allowed=allowed), names)) == expected
    excluded = [np.array(sorted(skip), np.int64)] * len(queries)
    assert shown(search(queries, in_blocks(corpus, size), SearchLimits(top, excluded=excluded), names)) == expected


def test_many_queries_are_taken_in_parts(monkeypatch):
    monkeypatch.setattr("clipcli.tasks.search.flat.SCORES_AT_ONCE", 64)
    monkeypatch.setattr("clipcli.tasks.search.flat._PAIRS_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    queries, corpus = unit_length(rng.standard_normal((33, 8))), unit_length(rng.standard_normal((200, 8)))
    names = [str(row) for row in range(200)]
    assert shown(search(queries, in_blocks(corpus, 17), SearchLimits(5), names)) == plainly(queries, corpus, names, 5)


def test_a_thousand_copies_stand_by_name():
    row = unit_length(np.ones((1, 16)))
    names = [f"{(7919 * n) % 1000:03}" for n in range(1000)]
    hits = search(row, in_blocks(np.repeat(row, 1000, axis=0), 64), SearchLimits(5), names)[0]
    assert [names[row] for row in hits.rows] == ["000", "001", "002", "003", "004"]


def test_float16_corpora_are_within_their_rounding():
    rng = np.random.default_rng(0)
    queries, corpus = unit_length(rng.standard_normal((4, 512))), unit_length(rng.standard_normal((3000, 512)))
    half = corpus.astype(np.float16)
    exact = search(queries, in_blocks(corpus, 512), SearchLimits(20))
    rounded = search(queries, ((start, b.astype(np.float32)) for start, b in in_blocks(half, 512)), SearchLimits(20))
    for a, b in zip(exact, rounded, strict=True):
        assert np.abs(a.scores - b.scores).max() < 1e-4
        assert len(set(a.rows) & set(b.rows)) >= 19


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "not finite"), (np.inf, "not finite"), (-np.inf, "not finite"), (0.0, "is zero")]
)
def test_rows_that_lie_are_refused(value, reason):
    rng = np.random.default_rng(0)
    corpus = unit_length(rng.standard_normal((100, 8)))
    if value == 0:
        corpus[57] = 0
    else:
        corpus[57, 3] = value
    with pytest.raises(UnusableRowError, match=f"row 57 .*{reason}"):
        search(corpus[:2], in_blocks(corpus, 30), SearchLimits(3))


def test_a_long_vector_among_the_best_is_refused():
    corpus = unit_length(np.random.default_rng(0).standard_normal((100, 8)))
    corpus[57] *= 3
    with pytest.raises(UnusableRowError, match="row 57 is not of unit length"):
        search(corpus[56:58] / [[1], [3]], in_blocks(corpus, 30), SearchLimits(3))


def test_the_error_bound_holds():
    rng = np.random.default_rng(0)
    rows = unit_length(np.abs(rng.standard_normal((2000, 512))))
    queries = unit_length(np.abs(rng.standard_normal((8, 512))))
    pairs = np.repeat(queries, 2000, axis=0), np.tile(rows, (8, 1))
    off = np.abs((queries @ rows.T).reshape(-1) - exact_scores(*pairs))
    assert off.max() < product_error(512)


def test_nothing_to_search_for_or_in():
    assert search(np.zeros((0, 4), np.float32), [], SearchLimits(3)) == []
    pool = BestRows(unit_length(np.ones((1, 4))), SearchLimits(3))
    assert pool.hits()[0].rows.tolist() == []


@pytest.mark.parametrize(("dim", "queries"), [(512, 1), (512, 1000), (1024, 10**6), (8, 1), (10**6, 1)])
def test_a_block_and_its_products_stay_small(dim, queries):
    rows = rows_a_block(dim, queries)
    assert rows >= 1024
    assert rows == 1024 or rows * dim * 4 <= 64 << 20
    assert rows == 1024 or rows * queries * 4 <= 16 << 20
