"""What the cache keeps, finds, forgets, and never says wrongly."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from clipcli.cache import EmbeddingCache, NoCache

SPACE = "0123456789ab/fp32"


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def vectors(count: int, dim: int = 8) -> list[tuple[str, np.ndarray]]:
    rows = np.random.default_rng(1).normal(size=(count, dim)).astype(np.float32)
    return [(key(number), row) for number, row in enumerate(rows)]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path, said):
    with EmbeddingCache.open(tmp_path, say=said.append) as opened:
        yield opened
    assert said == []


def reopened(cache: EmbeddingCache, *, refresh: bool = False, days_later: int = 0) -> EmbeddingCache:
    cache.close()
    again = EmbeddingCache.open(cache.folder, refresh=refresh, say=pytest.fail)
    again._today += days_later
    return again


def test_vectors_come_back_to_the_bit_in_the_order_asked(cache):
    items = vectors(1200)
    cache.put(SPACE, items)

    with reopened(cache) as again:
        found = again.get(SPACE, [key(7), key(5000), key(1199), key(7)])

    assert found[1] is None
    for number, vector in zip((7, 1199, 7), (found[0], found[2], found[3]), strict=True):
        np.testing.assert_array_equal(vector, items[number][1])
        assert vector.dtype == np.float32


def test_spaces_are_apart(cache):
    cache.put(SPACE, vectors(1))
    assert cache.get("0123456789ab/bf16", [key(0)]) == [None]
    assert cache.get("another/fp32", [key(0)]) == [None]


def test_what_is_there_is_not_written_again(cache):
    cache.put(SPACE, vectors(2))
    cache.put(SPACE, [(key(0), np.zeros(8, np.float32)), *vectors(3)])
    assert [info.entries for info in cache.info()] == [3]
    np.testing.assert_array_equal(cache.get(SPACE, [key(0)])[0], vectors(1)[0][1])


def test_refresh_finds_nothing_and_replaces(cache):
    cache.put(SPACE, vectors(2))
    stat = Path(__file__).stat()
    cache.remember_digest(__file__, stat, key(1))
    with reopened(cache, refresh=True) as fresh:
        assert fresh.get(SPACE, [key(0)]) == [None]
        assert fresh.known_digest(__file__, stat) is None
        fresh.put(SPACE, [(key(0), np.ones(8, np.float32))])
    with reopened(cache) as again:
        np.testing.assert_array_equal(again.get(SPACE, [key(0)])[0], np.ones(8))
        assert [info.entries for info in again.info()] == [2]


def test_numbers_that_are_not_finite_are_not_kept(cache):
    cache.put(SPACE, [(key(0), np.array([np.nan, 1], np.float32)), (key(1), np.array([0, 1], np.float32))])
    assert cache.get(SPACE, [key(0)]) == [None]
    assert cache.get(SPACE, [key(1)])[0] is not None


def test_float16_by_setting_and_both_in_one_file(cache, monkeypatch):
    cache.put(SPACE, vectors(1))
    monkeypatch.setenv("CLIPCLI_CACHE_DTYPE", "float16")
    with reopened(cache) as half:
        half.put(SPACE, vectors(2))
        first, second = half.get(SPACE, [key(0), key(1)])
        assert [info.bytes for info in half.info()] == [32 + 16]
    np.testing.assert_array_equal(first, vectors(1)[0][1])
    np.testing.assert_array_equal(second, vectors(2)[1][1].astype(np.float16).astype(np.float32))


def test_a_file_is_known_until_it_changes(cache, tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    file.write_bytes(b"12345")
    old = file.stat().st_mtime - 100
    os.utime(file, (old, old))
    monkeypatch.setattr("clipcli.cache.store._RACY_SECONDS", -1.0)  # the change time cannot be put back
    cache.remember_digest(str(file), file.stat(), key(1))
    assert cache.known_digest(str(file), file.stat()) is None  # not written yet
    cache.put(SPACE, [])
    assert cache.known_digest(str(file), file.stat()) == key(1)

    file.write_bytes(b"54321")
    os.utime(file, (old, old))
    assert cache.known_digest(str(file), file.stat()) is None


def test_a_file_written_just_now_is_not_trusted(cache, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"12345")
    cache.remember_digest(str(file), file.stat(), key(1))
    with reopened(cache) as again:
        assert again.known_digest(str(file), file.stat()) is None


def test_prune_by_age_counts_the_last_use(cache):
    cache.put(SPACE, vectors(10))
    with reopened(cache, days_later=20) as later:
        later.get(SPACE, [key(3), key(4)])
    with reopened(cache, days_later=30) as later:
        assert later.prune(None, timedelta(days=15)) == 8
        assert [vector is not None for vector in later.get(SPACE, [key(2), key(3), key(4)])] == [False, True, True]


def test_prune_by_size_takes_the_longest_unused(cache):
    cache.put(SPACE, vectors(2000, dim=64))
    with reopened(cache, days_later=1) as later:
        later.get(SPACE, [key(0), key(1)])
        removed = later.prune(300_000, None)
        assert 500 < removed < 1998
        assert all(vector is not None for vector in later.get(SPACE, [key(0), key(1), key(1999)]))
        assert later.get(SPACE, [key(2)]) == [None]
    assert (cache.folder / "vectors-1.sqlite").stat().st_size < 300_000


def test_size_is_bounded_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPCLI_CACHE_MAX_SIZE", "400K")
    with EmbeddingCache.open(tmp_path, say=pytest.fail) as cache:
        items = vectors(3000, dim=64)
        for start in range(0, 3000, 100):
            cache.put(SPACE, items[start : start + 100])
        assert cache.get(SPACE, [key(2999)])[0] is not None
        assert cache.get(SPACE, [key(0)]) == [None]
    assert (tmp_path / "vectors-1.sqlite").stat().st_size < 500_000


def test_clear_removes_everything_and_shrinks_the_file(cache):
    cache.put(SPACE, vectors(1000, dim=64))
    cache.keep_note("0123456789ab", "model", "demo")
    assert cache.clear() == 1000
    assert (cache.info(), cache.note("0123456789ab", "model")) == ([], None)
    cache.put(SPACE, vectors(1))  # a number that another process remembers still means the same space
    assert cache.get(SPACE, [key(0)])[0] is not None
    cache.close()
    assert (cache.folder / "vectors-1.sqlite").stat().st_size < 200_000


def test_info_names_the_model(cache):
    cache.put(SPACE, vectors(3))
    cache.put("ffff/fp32/text", vectors(1))
    cache.keep_note("0123456789ab", "model", "ViT-B-32/demo")
    rows = [(info.model, info.space, info.entries, info.bytes) for info in cache.info()]
    assert rows == [("ViT-B-32/demo", SPACE, 3, 96), ("", "ffff/fp32/text", 1, 32)]


def test_interrupted_put_leaves_no_half_batch(cache, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("clipcli.cache.store.shrink", stop)
        with pytest.raises(KeyboardInterrupt):
            cache.put(SPACE, vectors(5))
    assert cache.get(SPACE, [key(0)]) == [None]
    cache.put(SPACE, vectors(5))
    assert cache.get(SPACE, [key(0)])[0] is not None


def test_closing_twice_and_using_a_closed_cache(cache):
    cache.close()
    cache.close()
    cache.put(SPACE, vectors(1))
    assert cache.get(SPACE, [key(0)]) == [None]


def test_no_cache_has_every_method_of_the_cache():
    methods = {name for name in vars(EmbeddingCache) if not name.startswith("_")} - {"open"}
    assert methods <= set(dir(NoCache))
    with NoCache() as none:
        none.put(SPACE, vectors(1))
        assert none.get(SPACE, [key(0)]) == [None]
        assert none.known_digest(__file__, Path(__file__).stat()) is None


def test_a_second_opening_writes_nothing(cache):
    cache.put(SPACE, vectors(1))
    cache.close()
    before = {file.name: file.read_bytes() for file in cache.folder.iterdir()}
    with reopened(cache) as again:
        assert again.get(SPACE, [key(0)])[0] is not None
    assert {file.name: file.read_bytes() for file in cache.folder.iterdir()} == before


def test_bytes_come_back_as_they_are_and_count_as_vectors_do(cache):
    items = [(key(number), bytes([number]) * (number + 1)) for number in range(200)]
    cache.put_blobs("pairs", items)
    cache.put_blobs("pairs", [])

    with reopened(cache) as again:
        assert again.get_blobs("pairs", [key(7), key(5000), key(0)]) == [items[7][1], None, items[0][1]]
        assert again.get_blobs("facts", [key(7)]) == [None]
        assert [(space.space, space.entries) for space in again.info()] == [("pairs", 200)]
        assert again.clear() == 200
        assert again.get_blobs("pairs", [key(7)]) == [None]
    with NoCache() as none:
        none.put_blobs("pairs", items)
        assert none.get_blobs("pairs", [key(7)]) == [None]
