"""The SQLite file of the cache: its folder and limits, how it is opened in any state, and its tables."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import time
import zlib
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from clipcli.core.files import close_to_others
from clipcli.errors import ClipcliError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from clipcli.core.vectors import Vector

DEFAULT_MAX_BYTES = 2 * 1000**3
"""Enough for a million vectors of 512 float32."""
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def cache_folder() -> Path:
    """Return the cache folder: `CLIPCLI_CACHE_DIR`, else the user's cache folder."""
    chosen = os.environ.get("CLIPCLI_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("clipcli")


def parse_size(text: str) -> int:
    """Parse a size such as `500M`, `2GB`, `1.5GiB` or a plain number of bytes; K, M, G, T are powers of 1000.

    Raises:
        UsageError: the text is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"not a size: {text!r}", hint="write a number of bytes, or 500M, 2GB, 1.5GiB")
    return int(float(match[1]) * _UNITS[match[2]])


class CacheLimits(NamedTuple):
    """The limits that the cache enforces itself."""

    max_bytes: int = DEFAULT_MAX_BYTES
    itemsize: int = 4
    """Bytes per number: 4 for float32, 2 for float16."""


def cache_limits(say: Callable[[str], None]) -> CacheLimits:
    """Return the limits from `CLIPCLI_CACHE_MAX_SIZE` and `CLIPCLI_CACHE_DTYPE`; report and ignore invalid values."""
    size, dtype = (os.environ.get(f"CLIPCLI_CACHE_{name}") for name in ("MAX_SIZE", "DTYPE"))
    if dtype not in {None, "", "float32", "float16"}:
        say(f"--cache-dtype or CLIPCLI_CACHE_DTYPE: not float32 or float16: {dtype!r}")
    try:
        bound = parse_size(size) if size else DEFAULT_MAX_BYTES
    except UsageError as error:
        say(f"--cache-max-size or CLIPCLI_CACHE_MAX_SIZE: {error}")
        bound = DEFAULT_MAX_BYTES
    return CacheLimits(bound, 2 if dtype == "float16" else 4)


_KEYS_A_QUERY = 500  # SQLite before 3.32 allows 999 variables
_FIND = """SELECT key, data, itemsize, crc, used FROM entries JOIN vectors ON vectors.id = entries.vector
    WHERE space = ? AND key IN ({})"""


BLOB_ITEMSIZE = 1
"""The `itemsize` of entries that hold other bytes than a vector."""


class CachedEntry(NamedTuple):
    """An intact entry of the cache."""

    key: bytes
    data: bytes
    itemsize: int
    used: int
    """The day of its last use, in days since 1970-01-01."""

    @property
    def vector(self) -> Vector:
        """Return the vector as read-only (dim,) float32."""
        return np.frombuffer(self.data, f"<f{self.itemsize}").astype(np.float32, copy=False)


_FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class SpaceInfo:
    """A set of comparable vectors: of one model, precision and variant."""

    space: str
    """`fingerprint/precision`, optionally followed by a variant."""
    model: str
    """The model's name, if a run stored it."""
    entries: int
    bytes: int
    last_used: int
    """Days since 1970-01-01 (UTC)."""
    columns: ClassVar[tuple[str, ...]] = ("model", "space", "vectors", "bytes", "last used")
    path: ClassVar[None] = None

    @property
    def last_day(self) -> str:
        """Return the day of the last use, as `2025-01-31`."""
        return (_FIRST_DAY + timedelta(days=self.last_used)).isoformat()

    def record(self) -> Mapping[str, object]:
        """Return the row as a JSON object."""
        counts = {"vectors": self.entries, "bytes": self.bytes}
        return {"model": self.model, "space": self.space, **counts, "last_used": self.last_day}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return the row's one line."""
        return [(self.model, self.space, str(self.entries), str(self.bytes), self.last_day)]


def stamp(path: str, stat: os.stat_result) -> bytes:
    """Return 16 bytes that change whenever a file does.

    They include the change time, because editors can restore the modification time but not this one. The path replaces
    the inode number on file systems without inodes.
    """
    identity = path if stat.st_ino == 0 else stat.st_ino
    parts = (stat.st_dev, identity, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogateescape"), digest_size=16).digest()


def find_space(db: sqlite3.Connection, name: str) -> int | None:
    """Return the number of a space, or None if it has no entries yet. Numbers are never reused and can be cached."""
    row = db.execute("SELECT id FROM spaces WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def make_space(db: sqlite3.Connection, name: str) -> int:
    """Return the number of a space; create the space if necessary."""
    db.execute("INSERT OR IGNORE INTO spaces (name) VALUES (?)", (name,))
    return int(db.execute("SELECT id FROM spaces WHERE name = ?", (name,)).fetchone()[0])


def find(db: sqlite3.Connection, space: int, keys: Sequence[bytes]) -> Iterator[CachedEntry]:
    """Yield the entries of `keys` in any order; skip entries with a wrong checksum."""
    for chunk in _chunks(keys):
        for key, data, itemsize, crc, used in db.execute(_FIND.format(_marks(chunk)), (space, *chunk)):
            if zlib.crc32(data) == crc:
                yield CachedEntry(key, data, itemsize, used)


def insert(db: sqlite3.Connection, space: int, data: Mapping[bytes, bytes], itemsize: int, day: int) -> None:
    """Add entries for keys without one."""
    present = {row[0] for chunk in _chunks(list(data)) for row in _entries(db, "key", space, chunk)}
    new = [(key, blob) for key, blob in data.items() if key not in present]
    first = (db.execute("SELECT max(id) FROM vectors").fetchone()[0] or 0) + 1
    numbered = list(enumerate(new, start=first))
    db.executemany("INSERT INTO vectors (id, data) VALUES (?, ?)", [(number, blob) for number, (_, blob) in numbered])
    db.executemany(
        "INSERT INTO entries (space, key, vector, itemsize, bytes, crc, used) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(space, key, number, itemsize, len(blob), zlib.crc32(blob), day) for number, (key, blob) in numbered],
    )


def remove(db: sqlite3.Connection, space: int, keys: Sequence[bytes]) -> None:
    """Delete entries and their vectors."""
    for chunk in _chunks(keys):
        numbers = [row[0] for row in _entries(db, "vector", space, chunk)]
        db.execute(f"DELETE FROM vectors WHERE id IN ({_marks(numbers)})", numbers)  # noqa: S608 - question marks only
        db.execute(f"DELETE FROM entries WHERE space = ? AND key IN ({_marks(chunk)})", (space, *chunk))  # noqa: S608


def touch(db: sqlite3.Connection, uses: Iterable[tuple[int, bytes]], day: int) -> None:
    """Set the last use of (space, key) entries to `day`."""
    db.executemany("UPDATE entries SET used = ? WHERE space = ? AND key = ?", [(day, *use) for use in uses])


def keep_files(db: sqlite3.Connection, digests: Mapping[bytes, bytes], day: int) -> None:
    """Store the content hash (SHA-256) for each file stamp."""
    db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [(*pair, day) for pair in digests.items()])


def _entries(db: sqlite3.Connection, column: str, space: int, keys: Sequence[bytes]) -> sqlite3.Cursor:
    query = f"SELECT {column} FROM entries WHERE space = ? AND key IN ({_marks(keys)})"  # noqa: S608 - our own words only
    return db.execute(query, (space, *keys))


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + _KEYS_A_QUERY] for start in range(0, len(keys), _KEYS_A_QUERY))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


SCHEMA_VERSION = 1
_LOCK_WAIT_SECONDS = 15.0
_WAL_TRIES = 50
_PAGE_BYTES = 16384  # a page holds seven vectors of 512 float32; a page of 4096 bytes would hold one and waste half
_NAME = re.compile(r"vectors-(\d+)\.sqlite(\.broken)?")

# Entries are kept apart from the vectors, so that recording a use does not rewrite 2 KB of vector.
_TABLES = (
    "CREATE TABLE spaces (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE entries (
        space INTEGER NOT NULL, key BLOB NOT NULL, vector INTEGER NOT NULL, itemsize INTEGER NOT NULL,
        bytes INTEGER NOT NULL, crc INTEGER NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID""",
    "CREATE TABLE files (stamp BLOB PRIMARY KEY, digest BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE notes (
        space TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (space, name)) WITHOUT ROWID""",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class CacheUnusableError(ClipcliError):
    """The cache cannot be opened; the run continues without it. Only the cache package handles this error."""

    exit_code = ExitCode.OUTPUT


def is_corrupt(error: sqlite3.Error) -> bool:
    """Return whether the file is damaged or lacks a table, as opposed to a lock, a full disk or missing permission."""
    return type(error) is sqlite3.DatabaseError or "no such" in str(error)


def generations(folder: Path) -> list[tuple[int, bool]]:
    """Return (number, is broken) of every database in the folder, oldest first.

    A new database never reuses the name of a broken one: a process that still has the old one open deletes its
    write-ahead log by name when it closes.
    """
    matches = (_NAME.fullmatch(name) for name in os.listdir(folder))  # noqa: PTH208 - names only
    return sorted((int(match[1]), match[2] is not None) for match in matches if match)


def current_file(folder: Path) -> Path:
    """Return the path of the database in use, or of the next one to create."""
    files = generations(folder)
    number, broken = files[-1] if files else (0, True)
    return folder / f"vectors-{number + broken}.sqlite"


def set_aside(file: Path) -> Path:
    """Rename a damaged database to `*.broken` and delete older broken ones."""
    broken = file.with_name(file.name + ".broken")
    for number, is_broken in generations(file.parent):
        if is_broken:
            _remove(file.with_name(f"vectors-{number}.sqlite.broken"))
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        file.replace(broken)
    for suffix in ("-wal", "-shm"):
        _remove(file.with_name(file.name + suffix))
    return broken


def remove_broken(folder: Path) -> None:
    """Delete the broken databases."""
    for number, broken in generations(folder):
        if broken:
            _remove(folder / f"vectors-{number}.sqlite.broken")


def connect(file: Path) -> sqlite3.Connection:
    """Open or create the database.

    Raises:
        sqlite3.Error: it is damaged (see `is_corrupt`), locked, read-only, or the disk is full.
        CacheUnusableError: it belongs to a newer clipcli or to another user.
        OSError: it cannot be created.
    """
    _keep_private(file)
    connection = sqlite3.connect(file, timeout=_LOCK_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _keep_private(file: Path) -> None:
    """Restrict the file to this user; SQLite gives its companion files the same permissions."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    if hasattr(os, "geteuid") and file.lstat().st_uid not in {os.geteuid(), 0}:
        raise CacheUnusableError("it belongs to another user")
    for suffix in ("", "-wal", "-shm"):
        close_to_others(file.with_name(file.name + suffix))


def _prepare(connection: sqlite3.Connection) -> None:
    if _version(connection) > SCHEMA_VERSION:
        raise CacheUnusableError("a newer clipcli made it")
    if _version(connection) == 0:  # a new file
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _use_wal(connection)
        _make_tables(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("SELECT vector FROM entries LIMIT 1").fetchone()


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL with retries: two processes that do so at the same time get "locked", whatever the timeout."""
    for tries_left in reversed(range(_WAL_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:  # noqa: PERF203 - the loop exists for the error
            if "locked" not in str(error) or not tries_left:
                raise
            time.sleep(0.02)
        else:
            return


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == 0:  # no other process created them meanwhile
        for statement in _TABLES:
            connection.execute(statement)
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
