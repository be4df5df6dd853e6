"""Whatever is found in the cache's place, a run goes on as with an empty cache, after one line."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from clipcli.cache import EmbeddingCache
from clipcli.cache.database import SCHEMA_VERSION

SPACE = "0123456789ab/fp32"
KEY = hashlib.sha256(b"a").hexdigest()
ITEM = (KEY, np.arange(8, dtype=np.float32))
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def said() -> list[str]:
    return []


def fill(folder: Path, count: int = 500) -> Path:
    with EmbeddingCache.open(folder, say=pytest.fail) as cache:
        keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]
        cache.put(SPACE, [(key, np.full(64, number, np.float32)) for number, key in enumerate(keys)] + [ITEM])
    return folder / "vectors-1.sqlite"


def works(folder: Path, said: list[str]) -> bool:
    """Whether a run with this cache keeps and finds vectors; it must not fail in any case."""
    with EmbeddingCache.open(folder, say=said.append) as cache:
        cache.put(SPACE, [ITEM])
        cache.info()
        return cache.get(SPACE, [KEY])[0] is not None


@pytest.mark.parametrize("junk", [b"no database at all" * 99, bytes(40000), b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_set_aside(tmp_path, said, junk):
    (tmp_path / "vectors-1.sqlite").write_bytes(junk)
    assert works(tmp_path, said)
    assert len(said) == 1
    assert "renamed to" in said[0]
    assert (tmp_path / "vectors-1.sqlite.broken").read_bytes() == junk
    said.clear()
    assert works(tmp_path, said)
    assert said == []


def test_a_cut_off_file_is_set_aside(tmp_path, said):
    file = fill(tmp_path)
    os.truncate(file, file.stat().st_size // 2)
    assert works(tmp_path, said)
    assert len(said) == 1


def test_damage_in_the_middle_is_found_when_it_is_met(tmp_path, said):
    file = fill(tmp_path, 2000)
    data = bytearray(file.read_bytes())
    for start in range(16384, len(data), 16384):
        data[start : start + 64] = b"\xee" * 64
    file.write_bytes(data)
    works(tmp_path, said)
    assert any("renamed to" in line for line in said)
    said.clear()
    assert works(tmp_path, said)
    assert said == []


def test_a_flipped_bit_in_a_vector_is_a_miss(tmp_path, said):
    file = fill(tmp_path, 0)
    data = bytearray(file.read_bytes())
    place = data.index(ITEM[1].tobytes())
    data[place + 5] ^= 1
    file.write_bytes(data)
    with EmbeddingCache.open(tmp_path, say=said.append) as cache:
        assert cache.get(SPACE, [KEY]) == [None]
    assert said == []


def test_broken_files_do_not_pile_up(tmp_path, said):
    for number in range(1, 5):
        (tmp_path / f"vectors-{number}.sqlite").write_bytes(b"junk" * 999)
        works(tmp_path, said)
    assert sorted(os.listdir(tmp_path)) == ["vectors-4.sqlite.broken", "vectors-5.sqlite"]
    with EmbeddingCache.open(tmp_path, say=said.append) as cache:
        cache.clear()
    assert os.listdir(tmp_path) == ["vectors-5.sqlite"]


def test_a_newer_schema_is_left_alone(tmp_path, said):
    file = fill(tmp_path)
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    before = file.read_bytes()
    assert not works(tmp_path, said)
    assert len(said) == 1
    assert "newer clipcli" in said[0]
    assert file.read_bytes() == before


def test_a_place_that_is_a_file(tmp_path, said):
    (tmp_path / "cache").write_text("in the way")
    assert not works(tmp_path / "cache" / "deeper", said)
    assert len(said) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path, said):
    tmp_path.chmod(0o500)
    assert not works(tmp_path, said)
    tmp_path.chmod(0o700)
    assert len(said) == 1


def test_a_read_only_database(tmp_path, said, monkeypatch):
    fill(tmp_path)
    real = sqlite3.connect

    def read_only(file: Path, **settings: object) -> sqlite3.Connection:
        return real(f"file:{file}?mode=ro", uri=True, **settings)

    monkeypatch.setattr("clipcli.cache.database.sqlite3.connect", read_only)
    works(tmp_path, said)
    assert len(said) == 1
    assert "readonly" in said[0]


def test_a_full_disk_is_said_once_and_reading_goes_on(tmp_path, said):
    fill(tmp_path)
    with EmbeddingCache.open(tmp_path, say=said.append) as cache:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            for number in range(3):
                key = hashlib.sha256(b"full%d" % number).hexdigest()
                cache.put(SPACE, [(key, np.random.default_rng(number).normal(size=60_000).astype(np.float32))])
            assert cache.get(SPACE, [KEY])[0] is not None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
    assert len(said) == 1
    assert "not written any more" in said[0]
    assert works(tmp_path, [])


def test_a_locked_database_is_said_once(tmp_path, said, monkeypatch):
    file = fill(tmp_path)
    monkeypatch.setattr("clipcli.cache.database._LOCK_WAIT_SECONDS", 0.01)
    other = sqlite3.connect(file, isolation_level=None)
    with EmbeddingCache.open(tmp_path, say=said.append) as cache:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            cache.put(SPACE, [("ab" * 32, ITEM[1])])
        assert cache.get(SPACE, [KEY])[0] is not None
    other.close()
    assert len(said) == 1
    assert "locked" in said[0]


@pytest.mark.parametrize(("name", "value"), [("MAX_SIZE", "plenty"), ("DTYPE", "int8")])
def test_a_setting_that_cannot_be_read_is_said_and_not_used(tmp_path, said, monkeypatch, name, value):
    monkeypatch.setenv(f"CLIPCLI_CACHE_{name}", value)
    assert works(tmp_path, said)
    assert len(said) == 1
    assert value in said[0]


def test_threads_share_one_cache(tmp_path, said):
    with EmbeddingCache.open(tmp_path, say=said.append) as cache:

        def use(thread: int) -> None:
            for number in range(50):
                key = hashlib.sha256(b"%d %d" % (thread, number)).hexdigest()
                cache.put(SPACE, [(key, np.full(8, thread, np.float32))])
                assert cache.get(SPACE, [key])[0][0] == thread
                cache.remember_digest(__file__, Path(__file__).stat(), key)
                cache.known_digest(__file__, Path(__file__).stat())

        threads = [threading.Thread(target=use, args=(thread,)) for thread in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [info.entries for info in cache.info()] == [300]
    assert said == []


WORKER = """
    import hashlib, sys
    import numpy as np
    from pathlib import Path
    from clipcli.cache import EmbeddingCache
    with EmbeddingCache.open(Path(sys.argv[1]), say=lambda line: print(line, flush=True)) as cache:
        print("ready", flush=True)
        for batch in range(int(sys.argv[3])):
            numbers = range(batch * 10, batch * 10 + 10)
            keys = [hashlib.sha256(f"{sys.argv[2]} {number}".encode()).hexdigest() for number in numbers]
            cache.put("m/fp32", [(key, np.full(64, number, np.float32)) for key, number in zip(keys, numbers)])
            assert all(vector is not None for vector in cache.get("m/fp32", keys))
"""


def start(folder: Path, name: str, batches: int) -> subprocess.Popen[str]:
    code = [sys.executable, "-c", textwrap.dedent(WORKER), str(folder), name, str(batches)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.thorough
def test_processes_share_one_new_file(tmp_path):
    workers = [start(tmp_path, str(number), 30) for number in range(4)]
    for worker in workers:
        out, err = worker.communicate(timeout=60)
        assert (out, err, worker.returncode) == ("ready\n", "", 0)
    with EmbeddingCache.open(tmp_path, say=pytest.fail) as cache:
        assert [info.entries for info in cache.info()] == [1200]


@pytest.mark.thorough
@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_leaves_whole_batches(tmp_path, times):
    for number in range(times):
        worker = start(tmp_path, str(number), 10**9)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        wanted = int(np.random.default_rng(number).integers(1, 20)) * 10
        name = f"{number} {wanted}"
        with EmbeddingCache.open(tmp_path, say=pytest.fail) as cache:
            while cache.get("m/fp32", [hashlib.sha256(name.encode()).hexdigest()])[0] is None:
                assert worker.poll() is None
        worker.kill()
        worker.communicate()
    with EmbeddingCache.open(tmp_path, say=pytest.fail) as cache:
        (info,) = cache.info()
        assert info.entries % 10 == 0
        for number in range(times):
            keys = [hashlib.sha256(f"{number} {row}".encode()).hexdigest() for row in range(20)]
            for row, vector in enumerate(cache.get("m/fp32", keys)):
                assert vector is None or (vector == row).all()
    db = sqlite3.connect(tmp_path / "vectors-1.sqlite")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
