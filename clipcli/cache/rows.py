"""Reading and writing the cache's rows, inside whatever transaction the caller holds."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from clipcli.vectors import Vector

_KEYS_A_QUERY = 500  # SQLite before 3.32 allows 999 variables
_FIND = """SELECT key, data, itemsize, crc, used FROM entries JOIN vectors ON vectors.id = entries.vector
    WHERE space = ? AND key IN ({})"""


@dataclass(frozen=True)
class Hit:
    """One entry that was found whole."""

    key: bytes
    vector: Vector
    """Read-only (dim,) float32."""
    used: int
    """The day it was last used."""


def stamp(path: str, stat: os.stat_result) -> bytes:
    """16 bytes that change whenever a file does.

    The change time is in it because editors can put the modification time back, and cannot put back this one. Some
    file systems have no inode numbers; there the path stands for them.
    """
    identity = path if stat.st_ino == 0 else stat.st_ino
    parts = (stat.st_dev, identity, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogateescape"), digest_size=16).digest()


def find_space(db: sqlite3.Connection, name: str) -> int | None:
    """The number of a space, if it has one yet. Numbers are never used again, so callers may remember them."""
    row = db.execute("SELECT id FROM spaces WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def make_space(db: sqlite3.Connection, name: str) -> int:
    """The number of a space, new or not."""
    db.execute("INSERT OR IGNORE INTO spaces (name) VALUES (?)", (name,))
    return int(db.execute("SELECT id FROM spaces WHERE name = ?", (name,)).fetchone()[0])


def find(db: sqlite3.Connection, space: int, keys: Sequence[bytes]) -> Iterator[Hit]:
    """Entries among `keys`, in no order; one whose checksum is wrong counts as absent."""
    for some in _chunks(keys):
        for key, data, itemsize, crc, used in db.execute(_FIND.format(_marks(some)), (space, *some)):
            if zlib.crc32(data) == crc:
                stored = np.frombuffer(data, f"<f{itemsize}")
                yield Hit(key, stored.astype(np.float32, copy=False), used)


def insert(db: sqlite3.Connection, space: int, data: Mapping[bytes, bytes], itemsize: int, day: int) -> None:
    """Add entries for keys that have none."""
    present = {row[0] for some in _chunks(list(data)) for row in _entries(db, "key", space, some)}
    new = [(key, blob) for key, blob in data.items() if key not in present]
    first = (db.execute("SELECT max(id) FROM vectors").fetchone()[0] or 0) + 1
    numbered = list(enumerate(new, start=first))
    db.executemany("INSERT INTO vectors (id, data) VALUES (?, ?)", [(number, blob) for number, (_, blob) in numbered])
    db.executemany(
        "INSERT INTO entries (space, key, vector, itemsize, bytes, crc, used) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(space, key, number, itemsize, len(blob), zlib.crc32(blob), day) for number, (key, blob) in numbered],
    )


def remove(db: sqlite3.Connection, space: int, keys: Sequence[bytes]) -> None:
    """Drop entries and their vectors."""
    for some in _chunks(keys):
        numbers = [row[0] for row in _entries(db, "vector", space, some)]
        db.execute(f"DELETE FROM vectors WHERE id IN ({_marks(numbers)})", numbers)  # noqa: S608 - question marks only
        db.execute(f"DELETE FROM entries WHERE space = ? AND key IN ({_marks(some)})", (space, *some))  # noqa: S608


def touch(db: sqlite3.Connection, uses: Iterable[tuple[int, bytes]], day: int) -> None:
    """Note that (space, key) entries were used on `day`."""
    db.executemany("UPDATE entries SET used = ? WHERE space = ? AND key = ?", [(day, *use) for use in uses])


def keep_files(db: sqlite3.Connection, digests: Mapping[bytes, bytes], day: int) -> None:
    """Note which content (sha256) each file stamp stands for."""
    db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [(*pair, day) for pair in digests.items()])


def _entries(db: sqlite3.Connection, column: str, space: int, keys: Sequence[bytes]) -> sqlite3.Cursor:
    query = f"SELECT {column} FROM entries WHERE space = ? AND key IN ({_marks(keys)})"  # noqa: S608 - our own words only
    return db.execute(query, (space, *keys))


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + _KEYS_A_QUERY] for start in range(0, len(keys), _KEYS_A_QUERY))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
