"""Rows and lengths that do not depend on what else is in the batch."""

from __future__ import annotations

import numpy as np
import pytest

from clipcli.core.batch_invariance import groups_of_like_length, padded_rows, steps


@pytest.mark.parametrize(("count", "rows"), [(0, 0), (1, 4), (3, 4), (4, 4), (5, 8), (16, 16)])
def test_rows_are_padded_with_the_last(count, rows):
    assert padded_rows(count).tolist() == [min(row, count - 1) for row in range(rows)]


def test_groups_hold_every_text_once_at_its_own_length():
    lengths = np.random.default_rng(0).integers(2, 78, 500).tolist()
    seen = []
    for members, length in groups_of_like_length(lengths, 77, 64):
        assert 0 < len(members) <= 64
        assert all(lengths[member] <= length for member in members)
        assert length in {16, 32, 48, 64, 77}
        assert all(length - lengths[member] < 16 for member in members)
        seen += members.tolist()
    assert sorted(seen) == list(range(500))


def test_no_texts_make_no_group():
    assert list(groups_of_like_length([], 77, 64)) == []


@pytest.mark.parametrize(("count", "calls"), [(0, 0), (1, 1), (16, 1), (17, 2), (40, 3)])
def test_the_model_always_sees_the_same_number_of_rows(count, calls):
    found = list(steps(count, 16))
    assert [len(rows) for _, rows in found] == [16] * calls
    taken = [row for some, rows in found for row in rows[: some.stop - some.start]]
    assert taken == list(range(count))
    assert all(rows.max() < some.stop for some, rows in found)
