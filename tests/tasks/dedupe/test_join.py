from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.core.vectors import unit_length
from clipcli.tasks.dedupe import ivf, join
from clipcli.tasks.dedupe.ivf import Cells
from clipcli.tasks.dedupe.join import collapse, join_self, join_sets
from clipcli.tasks.dedupe.pairs import Neighbours, VectorSource


def rows(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return unit_length(np.random.default_rng(seed).standard_normal((count, dim)))


def pairs_of(found) -> set[tuple[int, int]]:
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(join, "_ROWS", 7)
    monkeypatch.setattr(join, "_COLUMNS", 13)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 90])
def test_all_pairs_at_or_above_the_threshold_each_once(small_blocks, count):
    vectors = rows(count)
    found = join_self(VectorSource(vectors), 0.3, limit=10**6)
    expected = {(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(vectors @ vectors.T >= 0.3, 1)), strict=True)}
    assert pairs_of(found) == expected
    assert len(found.first) == len(expected)
    assert not found.crowded.any()


def test_between_two_sets(small_blocks):
    one, two = rows(30), rows(50, seed=1)
    found = join_sets(VectorSource(one), VectorSource(two), 0.4)
    assert pairs_of(found) == {(int(i), int(j)) for i, j in zip(*np.nonzero(one @ two.T >= 0.4), strict=True)}


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_a_limit_keeps_the_best_of_either_row_and_says_who_lost_some(small_blocks, monkeypatch, limit):
    monkeypatch.setattr("clipcli.tasks.dedupe.pairs._FLOOR", 10)
    vectors = rows(80)
    cosines = vectors @ vectors.T
    found = join_self(VectorSource(vectors), 0.0, limit=limit)
    np.fill_diagonal(cosines, -9)
    best = np.argsort(-cosines, axis=1)[:, :limit]
    wanted = {(min(i, int(j)), max(i, int(j))) for i in range(80) for j in best[i] if cosines[i, j] >= 0}
    assert pairs_of(found) == wanted
    lost = np.triu(cosines >= 0, 1)
    lost[tuple(np.array(sorted(wanted)).T)] = False
    assert (found.crowded == (lost.any(axis=0) | lost.any(axis=1))).all()


def test_a_crowded_row_is_asked_again_in_full(monkeypatch):
    vectors = unit_length(rows(60) * 0.05 + np.eye(16, dtype=np.float32)[0])
    pairs = join_self(VectorSource(vectors), 0.9, limit=4)
    neighbours = Neighbours(VectorSource(vectors), 0.9, pairs, scans_left=1)
    assert pairs.crowded[5]
    everyone, cosines = neighbours.of(5)
    assert everyone.tolist() == [row for row in range(60) if row != 5 and vectors[5] @ vectors[row] >= 0.9]
    assert cosines == pytest.approx(vectors[everyone] @ vectors[5], abs=1e-5)
    shortened, _ = neighbours.of(6)
    assert neighbours.cut == 1
    assert 4 <= len(shortened) < 59


@given(st.lists(st.integers(0, 5), max_size=40))
@settings(max_examples=50)
def test_identical_rows_become_one(kinds):
    kinds_of_row = rows(6)
    vectors = kinds_of_row[kinds] if kinds else np.zeros((0, 16), np.float32)
    found = collapse(vectors)
    assert [kinds[first] for first in found.firsts] == list(dict.fromkeys(kinds))
    assert [kinds[found.firsts[kind]] for kind in found.kind] == kinds


def test_a_million_identical_rows_are_one():
    found = collapse(np.ones((1_000_000, 4), np.float32))
    assert found.firsts.tolist() == [0]
    assert len(join_self(VectorSource(np.ones((1_000_000, 4), np.float32), found.firsts), 0.5).first) == 0


def planted(count: int = 6000, copies: int = 300) -> np.ndarray:
    """Rows around 60 centres; the last ones are copies of the first with a little noise."""
    centres = rows(60, 32, seed=7)[np.random.default_rng(8).integers(0, 60, count)]
    vectors = unit_length(centres + rows(count, 32, seed=9))
    vectors[-copies:] = unit_length(vectors[:copies] + 0.1 * rows(copies, 32, seed=5))
    return vectors


def test_the_approximate_join_finds_planted_pairs_once_and_measures_itself(monkeypatch):
    monkeypatch.setattr(ivf, "_CELL_ROWS", 60)
    vectors = planted()
    found, recall = ivf.join_self_approximately(VectorSource(vectors), 0.97)
    every = join_self(VectorSource(vectors), 0.97)
    assert {(row, row + 5700) for row in range(300)} <= pairs_of(every)
    assert pairs_of(found) <= pairs_of(every)
    assert len(pairs_of(found)) == len(found.first) >= 0.99 * len(every.first)
    assert (recall.rows, recall.cells) == (1024, 100)
    assert 0 < recall.true_pairs < 200
    assert 4 <= recall.probes < 100
    assert recall.share >= 0.99
    assert recall.synthetic_found >= 0.97 * recall.synthetic_pairs > 900
    assert f"{recall.true_pairs} pairs found in a sample of 1,024, and " in str(recall)


def test_the_approximate_join_of_two_sets(monkeypatch):
    monkeypatch.setattr(ivf, "_CELL_ROWS", 60)
    vectors = planted()
    one, two = VectorSource(vectors[4000:]), VectorSource(vectors[:4000])
    moved = []
    found, recall = ivf.join_sets_approximately(one, two, 0.6, advance=moved.append)
    every = join_sets(one, two, 0.6)
    assert pairs_of(found) <= pairs_of(every)
    assert len(found.first) >= 0.98 * len(every.first)
    assert recall.share >= 0.98
    assert recall.true_pairs > 1000
    assert recall.synthetic_pairs == 0
    assert sum(moved) == 6000


@pytest.mark.thorough
def test_a_crowded_row_is_marked_in_the_approximate_join_too(monkeypatch):
    monkeypatch.setattr("clipcli.tasks.dedupe.pairs._FLOOR", 10)
    monkeypatch.setattr(ivf, "_CELL_ROWS", 60)
    vectors = unit_length(rows(2000, 32) * 0.05 + np.eye(32, dtype=np.float32)[0])
    found, _ = ivf.join_self_approximately(VectorSource(vectors), 0.9)
    assert found.crowded.mean() > 0.9
    assert len(found.first) <= 64 * 2000


def test_every_row_is_in_the_cell_nearest_to_it():
    vectors = planted(2000)
    cells = Cells.of(VectorSource(vectors), 20, 4, lambda _n: None)
    assert np.bincount(cells.cell).sum() == 2000
    assert (cells.cell == (vectors @ cells.centres.T).argmax(axis=1)).all()
    assert sorted(np.concatenate([cells.members(cell) for cell in range(len(cells))]).tolist()) == list(range(2000))
    values = np.take_along_axis(vectors @ cells.centres.T, cells.nearest, axis=1)
    assert (np.diff(values, axis=1) <= 0).all()
