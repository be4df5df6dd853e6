from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.core.console import Console
from clipcli.core.vectors import unit_length
from clipcli.errors import UsageError
from clipcli.runs.dedupe.candidates import index_by_vectors
from clipcli.tasks.dedupe.clusters import Search, group, smallest_cosine
from clipcli.tasks.dedupe.keep import FileFacts, is_inside, parse_rules, rank, reason

POINTS = st.lists(st.integers(0, 30), min_size=1, max_size=25, unique=True)


def grouped(points: list[int], reach: int = 3) -> dict[int, int]:
    """Points on a line; the smallest is the best to keep, and neighbours within `reach` match."""
    order = np.argsort(points)
    place = np.array(points)

    def near(row: int) -> np.ndarray:
        return np.flatnonzero((np.abs(place - place[row]) <= reach + 2) & (place != place[row]))

    found = group(order, len(points), near, lambda row, others: np.abs(place[others] - place[row]) <= reach)
    return {points[row]: points[leader] for row, leader in enumerate(found.leader.tolist())}


@given(points=POINTS, seed=st.randoms())
@settings(max_examples=100)
def test_groups_do_not_depend_on_the_order_of_inputs(points, seed):
    shuffled = points[:]
    seed.shuffle(shuffled)
    assert grouped(points) == grouped(shuffled)


@given(points=POINTS)
@settings(max_examples=100)
def test_every_member_matches_its_leader_and_no_leader_matches_another(points):
    leaders = grouped(points)
    assert all(abs(point - leader) <= 3 for point, leader in leaders.items())
    heads = sorted(set(leaders.values()))
    assert all(abs(a - b) > 3 for a in heads for b in heads if a != b)
    assert all(leaders[head] == head for head in heads)


def test_a_chain_is_not_one_group():
    assert grouped([0, 3, 6, 9]) == {0: 0, 3: 0, 6: 6, 9: 6}


@given(points=POINTS, patience=st.integers(1, 4))
@settings(max_examples=100)
def test_pairs_that_are_compared_ahead_decide_nothing(points, patience):
    place, kinds = np.array(points), np.array(points) // 2
    ahead: set[tuple[int, int]] = set()

    def near(row):
        return np.flatnonzero((np.abs(place - place[row]) <= 6) & (place != place[row]))

    def verify(row, others):
        return np.abs(place[others] - place[row]) <= 3

    order = np.argsort(points)
    plain = group(order, len(points), near, verify, Search(patience, kinds))
    quick = group(order, len(points), near, verify, Search(patience, kinds, ahead.update))
    assert (plain.leader.tolist(), plain.not_compared) == (quick.leader.tolist(), quick.not_compared)
    assert len(ahead) >= len(points) - len(set(plain.leader.tolist()))


def test_of_candidates_that_fail_a_few_are_compared_and_the_rest_counted():
    compared = []

    def verify(row, others):
        compared.extend(others.tolist())
        return np.zeros(len(others), bool)

    search = Search(patience=5, kinds=np.arange(100))
    found = group(np.arange(100), 100, lambda row: np.setdiff1d(np.arange(100), [row]), verify, search)
    assert len(compared) <= 100 * 8
    assert len(compared) + found.not_compared == 100 * 99 // 2


def test_members_lead_to_what_is_near_them_and_is_compared_with_the_leader():
    near = {0: [1], 1: [0, 2], 2: [1, 3], 3: [2]}
    matches = {(0, 1), (0, 2)}
    told = []
    search = Search(8, np.arange(4), told.append)

    def verify(row, others):
        return np.array([(row, int(other)) in matches for other in others], bool)

    found = group(np.arange(4), 4, lambda row: np.array(near[row]), verify, search)
    assert found.leader.tolist() == [0, 0, 0, 3]
    assert told[0][:1] == [(0, 1)]


def test_a_leader_that_always_matches_has_as_many_members_as_there_are():
    everyone = np.arange(500)
    search = Search(2, np.zeros(500, np.int64))
    found = group(everyone, 500, lambda row: everyone[everyone != row], lambda _row, others: others > 0, search)
    assert found.leader.tolist() == [0] * 500
    assert found.not_compared == 0


def test_the_smallest_cosine_is_of_any_two():
    vectors = unit_length(np.random.default_rng(0).standard_normal((50, 8)))
    assert smallest_cosine(vectors) == pytest.approx(float((vectors @ vectors.T).min()))
    assert smallest_cosine(vectors[:1]) == pytest.approx(1.0)


def test_of_many_rows_the_smallest_cosine_is_sampled(monkeypatch):
    monkeypatch.setattr("clipcli.tasks.dedupe.clusters._ALL_PAIRS", 100)
    monkeypatch.setattr("clipcli.tasks.dedupe.clusters._ROWS_AT_ONCE", 30)
    vectors = unit_length(np.random.default_rng(0).standard_normal((200, 8)))
    step = vectors[:: 200 // 30]
    assert smallest_cosine(vectors) == pytest.approx(float((step @ vectors.T).min()))


@pytest.mark.parametrize("rows", [30_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_rows_of_one_vector_cost_no_more_than_their_number(rows):
    """Every row is compared once, with the one that leads; a tenth of them are other vectors, near to none."""
    vectors = np.tile(unit_length(np.ones((1, 4), np.float32)), (rows, 1))
    vectors[::10] = unit_length(np.random.default_rng(0).standard_normal((1, 4))) * [[1, -1, 1, -1]]
    proposer, compared = index_by_vectors(vectors, 0.99, Console(quiet=True)), []

    def verify(_row, others):
        compared.append(len(others))
        return np.ones(len(others), bool)

    found = group(np.arange(rows), rows, proposer.partners, verify, Search(8, proposer.kind))
    assert len(proposer.neighbours.pairs.first) == 0
    assert len(np.unique(found.leader)) == 2
    assert sum(compared) == rows - 2
    assert found.not_compared == 0


SMALL = FileFacts("/p/a/s.jpg", 100, 10, 1, "jpeg")
LARGE = FileFacts("/p/b/large.png", 400, 5, 9, "png", coloured=True)
OTHER = FileFacts("/p/b/c/other.jpg", 400, 50, 3, "jpeg")


@pytest.mark.parametrize(
    ("rules", "first", "why"),
    [
        (None, LARGE, "in colour"),
        ("largest-file", OTHER, "most bytes"),
        ("color", LARGE, "in colour"),
        ("fewest-pixels", SMALL, "fewest pixels"),
        ("heaviest", OTHER, "most bytes"),
        ("coloured", LARGE, "in colour"),
        ("smallest", SMALL, "fewest pixels"),
        ("oldest", SMALL, "oldest"),
        ("newest", LARGE, "newest"),
        ("shortest-path", SMALL, "shortest path"),
        ("longest-path", OTHER, "longest path"),
        ("lightest", LARGE, "fewest bytes"),
        ("format:png", LARGE, "png"),
        ("format:jpg,smallest", SMALL, "fewest pixels"),
        ("in:/p/b,oldest", OTHER, "oldest"),
        ("in:/p/b/c", OTHER, "in /p/b/c"),
    ],
)
def test_the_first_rule_that_decides_counts(rules, first, why):
    files, parsed = [SMALL, LARGE, OTHER], parse_rules(rules)
    best = files[rank(files, parsed)[0]]
    assert best == first
    assert reason(best, [file for file in files if file is not best], parsed) == why


def test_protected_files_come_before_any_rule():
    from dataclasses import replace

    files = [LARGE, OTHER, replace(SMALL, protected=True)]
    assert rank(files, parse_rules("largest"))[0] == 2


@pytest.mark.parametrize("rules", ["biggest", "in:", "format", "largest,,oldest"])
def test_a_rule_that_does_not_exist_is_refused(rules):
    with pytest.raises(UsageError, match="no rule"):
        parse_rules(rules)


def test_a_folder_is_no_prefix():
    assert is_inside("/a/b/c.jpg", "/a/b")
    assert not is_inside("/a/bc/c.jpg", "/a/b")


@pytest.mark.parametrize(
    ("kept", "other"),
    [
        ("IMG_1012.jpg", "IMG_1012 (1).jpg"), ("a.jpg", "a - Copy.jpg"), ("a.jpg", "Kopie von a.jpg"),
        ("a.jpg", "a copy 2.jpg"), ("zebra.jpg", "a_1.jpg"), ("a.jpg", "aa.jpg"), ("x/a.jpg", "@eaDir/a.jpg"),
        ("zebra/zebra.jpg", "$RECYCLE.BIN/a.jpg"), ("a.jpg", "a~2.jpg"), ("b/a.jpg", "c/a.jpg"),
    ],
)  # fmt: skip
def test_of_equal_files_the_plain_name_in_use_is_kept(kept, other):
    files = [FileFacts(f"/p/{name}", 100, 10, 1, "jpeg") for name in (other, kept)]
    assert rank(files, parse_rules(None))[0] == 1
