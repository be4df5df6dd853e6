from __future__ import annotations

import numpy as np
import pytest

from clipcli.tasks.search.relevance import FALSE_HITS, deviations, floors, sample_rows


def noise(queries, corpus, seed=0):
    return np.random.default_rng(seed).normal(0.2, 0.03, (queries, corpus)).astype(np.float32)


@pytest.mark.thorough
@pytest.mark.parametrize("corpus", [500, 5000])
def test_normal_noise_gives_the_promised_rate_of_false_hits(corpus):
    scores = noise(2000, corpus)
    hits = (scores >= floors(scores, corpus)[:, None]).sum() / len(scores)
    assert hits == pytest.approx(FALSE_HITS, abs=0.04)


def test_what_stands_out_is_kept_even_when_a_fifth_of_the_corpus_does():
    scores = noise(50, 1000)
    scores[:, :200] += 0.4
    found = scores >= floors(scores, 1000)[:, None]
    assert found[:, :200].mean() > 0.99
    assert found[:, 200:].sum() == 0


def test_the_floor_moves_with_the_scores():
    scores = noise(5, 300)
    assert floors(scores * 0.5 + 0.1, 300) == pytest.approx(floors(scores, 300) * 0.5 + 0.1, abs=1e-5)


def test_a_sample_tells_nearly_the_same_floor():
    scores = noise(20, 200_000)
    part = scores[:, sample_rows(200_000)]
    assert np.abs(floors(part, 200_000) - floors(scores, 200_000)).max() < 0.003


def test_samples_are_spread_over_the_corpus():
    assert sample_rows(5).tolist() == [0, 1, 2, 3, 4]
    rows = sample_rows(1_000_000, 1000)
    assert len(rows) == 1000
    assert (rows[0], rows[-1]) == (0, 999_999)


def test_larger_corpora_ask_for_more():
    assert [round(deviations(n), 1) for n in (200, 10_000, 1_000_000)] == [3.3, 4.3, 5.2]


def test_equal_scores_do_not_break_it():
    assert floors(np.full((1, 30), 0.5, np.float32), 30).tolist() == [0.5]
