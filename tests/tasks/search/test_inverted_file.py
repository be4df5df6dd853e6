"""Cells and sign codes: estimates near the truth, every row in one cell, and more cells find more."""

from __future__ import annotations

import numpy as np
import pytest

from clipcli.core.vectors import unit_length
from clipcli.tasks.search import inverted_file
from clipcli.tasks.search.inverted_file import COARSE_PER_ROW, InvertedFile, Partition, _largest, best_cells, cell_count
from clipcli.tasks.search.sign_codes import ProductCounter, QueryCode, encode_signs, rotation, rows_at_once, words_of


def clusters(rows, dim, seed=0):
    chance = np.random.default_rng(seed)
    centres = unit_length(chance.standard_normal((max(rows // 100, 1), dim)))
    return unit_length(centres[chance.integers(0, len(centres), rows)] + 0.07 * chance.standard_normal((rows, dim)))


def inverted(vectors, cells):
    partition, turn = Partition.of(vectors, cells), rotation(vectors.shape[1])
    cell = partition.assign(vectors)
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(len(partition.centres) + 1))
    codes, factors, squares = encode_signs((vectors - partition.centres[cell]) @ turn)
    counts = np.bincount(cell, minlength=len(partition.centres))
    return InvertedFile(
        turn, partition.centres, starts, order, np.ascontiguousarray(codes[order].T), factors[order],
        np.sqrt(np.bincount(cell, squares, len(counts)) / np.maximum(counts, 1)).astype(np.float32), 0.4,
    )  # fmt: skip


def products(query, turn, codes, bits=4):
    out = np.empty(len(codes), np.float32)
    ProductCounter(QueryCode.of(query @ turn, bits)).products(np.ascontiguousarray(codes.T), out)
    return out


@pytest.mark.parametrize("dim", [3, 64, 100, 512])
def test_a_rotation_keeps_products_whatever_the_dimension(dim):
    vectors = clusters(20, dim)
    turned = vectors @ rotation(dim)
    assert turned.shape[1] == words_of(dim) * 64
    assert turned @ turned.T == pytest.approx(vectors @ vectors.T, abs=1e-5)


@pytest.mark.parametrize(("bits", "error"), [(1, 1.1), (4, 0.8)])
def test_estimates_are_unbiased_and_as_near_as_the_bits_allow(bits, error):
    chance, dim = np.random.default_rng(1), 512
    rows = unit_length(chance.standard_normal((2000, dim)))
    query = unit_length(chance.standard_normal((1, dim)) + rows.mean(axis=0))[0]
    turn = rotation(dim)
    codes, factors, squares = encode_signs(rows @ turn)
    errors = products(query, turn, codes, bits) * factors - rows @ query
    assert abs(errors.mean()) < 0.005
    assert errors.std() < error / dim**0.5
    assert squares == pytest.approx(np.ones(len(rows)), abs=1e-4)


def test_rows_and_queries_of_zeros_have_the_product_zero():
    codes, factors, squares = encode_signs(np.zeros((2, 64), np.float32))
    assert factors.tolist() == squares.tolist() == [0, 0]
    assert products(np.zeros(64, np.float32), np.eye(64, dtype=np.float32), codes).tolist() == [0, 0]


@pytest.mark.parametrize("rows", [1, 2, 63, 1000])
def test_every_row_is_in_one_cell(rows):
    vectors = clusters(rows, 24)
    index = inverted(vectors, cell_count(rows))
    assert index.starts[-1] == rows
    found = index.candidates(vectors[0], len(index.centres), rows)
    assert sorted(found.tolist()) == list(range(rows))


def test_of_many_rows_those_with_the_best_estimates_are_kept():
    vectors = clusters(3000, 96)
    index = inverted(vectors, 40)
    best = np.argsort(-(vectors @ vectors[5]))[:10]
    assert np.isin(best, index.candidates(vectors[5], len(index.centres), 200)).mean() >= 0.9
    assert 5 in index.candidates(vectors[5], 1, 20)
    recalls = [np.isin(best, index.candidates(vectors[5], probes, 3000)).sum() for probes in (1, 8, 40)]
    assert recalls == sorted(recalls)


def test_cells_are_opened_in_the_order_they_lie_on_disk():
    scores = np.array([0.5, 0.1, 0.9, 0.3], np.float32)
    assert best_cells(scores, 2).tolist() == [0, 2]
    assert best_cells(scores, 9).tolist() == [0, 1, 2, 3]


def test_equal_vectors_need_no_more_than_their_one_centre():
    index = inverted(np.repeat(clusters(1, 32), 500, axis=0), 7)
    assert sorted(index.candidates(clusters(1, 32)[0], len(index.centres), 500).tolist()) == list(range(500))


@pytest.mark.parametrize("bits", [1, 3, 4])
@pytest.mark.parametrize("dim", [64, 200, 512])
def test_products_are_those_of_the_rounded_query_for_any_number_of_rows(dim, bits):
    chance, size = np.random.default_rng(5), words_of(dim) * 64
    step_rows = rows_at_once(bits * words_of(dim))
    query, signs = chance.standard_normal(size).astype(np.float32), chance.random((2 * step_rows + 3, size)) > 0.5
    codes = np.packbits(signs, axis=1).view(np.uint64)
    levels = np.arange(1 - 2**bits, 2**bits, 2)
    width = 2 * np.abs(query).max() / len(levels)
    rounded = levels[np.abs(query[:, None] - width / 2 * levels).argmin(axis=1)]
    expected = (2.0 * signs - 1) @ (rounded * (query @ rounded) / (rounded @ rounded))
    for rows in (0, 1, step_rows, len(codes)):
        assert products(query, np.eye(size), codes[:rows], bits) == pytest.approx(expected[:rows], abs=1e-3)


@pytest.mark.parametrize("count", [1, 100, 5000, 99_999, 100_000, 200_000])
def test_the_largest_are_those_of_a_sort(count):
    values = np.random.default_rng(6).standard_normal(100_000).astype(np.float32)
    for order in (values, np.sort(values), np.sort(values)[::-1], np.zeros_like(values)):
        positions = _largest(order, count)
        assert np.array_equal(np.sort(order[positions]), np.sort(order)[-count:])
        assert (np.diff(positions) > 0).all()


def test_many_rows_are_estimated_as_cell_by_cell(monkeypatch):
    vectors = clusters(70_000, 64)
    index = inverted(vectors, 300)
    whole = index.estimates(vectors[7], 120, len(vectors))
    assert len(np.unique(whole.rows)) == len(whole.rows) > 10_000
    monkeypatch.setattr(inverted_file, "_FEW_ROWS", 0)
    again = index.estimates(vectors[7], 120, len(vectors))
    assert np.array_equal(whole.rows, again.rows)
    assert np.array_equal(whole.coarse, again.coarse)
    for estimates, limit in ((whole.coarse, 0.12), (whole.fine, 0.09)):
        errors = estimates - vectors[whole.rows] @ vectors[7]
        assert np.abs(errors.mean()) < 0.01
        assert errors.std() < limit
    assert np.array_equal(np.bincount(whole.cells, minlength=300) > 0, np.isin(np.arange(300), whole.cells))
    first = index.estimates(vectors[7], 120, 500)
    kept = np.isin(whole.rows, first.rows)
    assert kept.sum() == 500
    assert whole.coarse[kept].min() >= whole.coarse[~kept].max()
    best = index.candidates(vectors[7], 120, 50)
    near = np.argsort(-whole.coarse, kind="stable")[: 50 * COARSE_PER_ROW]
    assert sorted(best.tolist()) == sorted(whole.rows[near[np.argsort(-whole.fine[near])[:50]]].tolist())


def test_a_row_is_in_the_nearest_cell_of_all_groups():
    vectors = clusters(4000, 32, seed=3)
    partition = Partition.of(vectors, 60)
    distances = (partition.centres**2).sum(axis=1) - 2 * vectors @ partition.centres.T
    assert len(partition.upper) <= 8
    assert np.array_equal(partition.assign(vectors), distances.argmin(axis=1))


def test_of_cells_at_the_same_distance_the_wider_is_opened_first():
    vectors = clusters(500, 32)
    index = inverted(vectors, 10)
    query = vectors[0]
    scores = index.cell_scores(query)
    assert scores == pytest.approx(index.centres @ query + 0.4 * index.radii, abs=1e-6)
    members = index.rows[index.starts[3] : index.starts[4]]
    distances = ((vectors[members] - index.centres[3]) ** 2).sum(axis=1)
    assert index.radii[3] == pytest.approx(np.sqrt(distances.mean()), abs=1e-5)
