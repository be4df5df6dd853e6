from __future__ import annotations

import threading

import numpy as np
import pytest

from clipcli.core.vectors import unit_length
from clipcli.tasks.search.flat import FEW, Scanner, SearchLimits, UnusableRowError, product_error, search

RNG = np.random.default_rng(0)
CORPUS = unit_length(RNG.standard_normal((5000, 96)))
QUERIES = unit_length(RNG.standard_normal((FEW, 96)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("count", [1, FEW])
@pytest.mark.parametrize("rows", [1, 2730, 2731, 5000])
def test_products_of_every_row_whatever_the_pieces(dtype, order, count, rows):
    block = np.asarray(CORPUS[:rows], dtype, order)
    exact = QUERIES[:count].astype(np.float64) @ block.astype(np.float64).T
    found = Scanner().products(QUERIES[:count], block)
    assert (found.shape, found.dtype) == ((count, rows), np.float32)
    assert np.abs(found - exact).max() <= product_error(96)


def test_float16_rows_are_taken_as_they_are_by_few_and_by_many_queries():
    half = CORPUS.astype(np.float16)
    wide = half.astype(np.float32)
    many = unit_length(RNG.standard_normal((FEW + 1, 96)))
    for queries in (QUERIES, many):
        for a, b in zip(*(search(queries, [(0, rows)], SearchLimits(7)) for rows in (half, wide)), strict=True):
            assert a.rows.tolist() == b.rows.tolist()
            assert a.scores.tolist() == b.scores.tolist()


def test_a_long_row_of_float16_is_refused():
    half = CORPUS.astype(np.float16)
    half[57] *= np.float16(1.05)
    with pytest.raises(UnusableRowError, match="row 57 is not of unit length"):
        search(CORPUS[57:58], [(0, half)], SearchLimits(1))


def test_threads_end_with_their_scanner():
    scanner = Scanner()
    scanner.products(QUERIES, CORPUS)
    own = [thread for thread in threading.enumerate() if thread.name.startswith("scan")]
    assert own
    del scanner
    for thread in own:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in own)
