"""`EmbeddingCache`: vectors by content hash, and content hashes by file stamp. After a failure it acts as empty."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from clipcli.cache import database
from clipcli.cache.database import (
    CacheUnusableError,
    SpaceInfo,
    cache_folder,
    cache_limits,
    connect,
    current_file,
    is_corrupt,
    remove_broken,
    set_aside,
)
from clipcli.core.files import make_private_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from clipcli.cache.database import CachedEntry
    from clipcli.core.vectors import Vector


_LOW_WATER = 0.9  # shrink to this share of the limit, so that the next batch need not shrink again


def bytes_in_use(db: sqlite3.Connection) -> int:
    """Return the bytes in use inside the file, without free pages, which are reused first."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, page_bytes = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * page_bytes


def shrink(db: sqlite3.Connection, max_bytes: int) -> int:
    """Remove the least recently used entries, oldest first among equals, while the file exceeds `max_bytes`.

    Returns:
        The number of removed entries.
    """
    removed = 0
    while (now := bytes_in_use(db)) > max_bytes:
        entries = _count(db)
        if entries == 0:  # only file stamps are left
            db.execute("DELETE FROM files")
            break
        share = 1 - _LOW_WATER * max_bytes / now
        removed += _remove(db, "SELECT vector FROM entries ORDER BY used, vector LIMIT ?", int(entries * share) + 1)
    return removed


def remove_unused_since(db: sqlite3.Connection, day: int) -> int:
    """Remove entries last used before `day`; return their number."""
    db.execute("DELETE FROM files WHERE used < ?", (day,))
    return _remove(db, "SELECT vector FROM entries WHERE used < ?", day)


def remove_everything(db: sqlite3.Connection) -> int:
    """Remove all rows and return the number of entries. Spaces stay: other processes may have cached their numbers."""
    removed = _count(db)
    for table in ("entries", "vectors", "files", "notes"):
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
    return removed


def return_free_pages(db: sqlite3.Connection) -> None:
    """Return free pages to the file system; call it outside a transaction."""
    db.executescript("PRAGMA incremental_vacuum")  # execute() would free only one page
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM entries").fetchone()[0])


def _remove(db: sqlite3.Connection, query: str, value: int) -> int:
    db.execute("CREATE TEMP TABLE IF NOT EXISTS doomed (vector INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM doomed")
    db.execute(f"INSERT INTO doomed {query}", (value,))
    db.execute("DELETE FROM vectors WHERE id IN (SELECT vector FROM doomed)")
    return db.execute("DELETE FROM entries WHERE vector IN (SELECT vector FROM doomed)").rowcount


MODEL_NOTE = "model"
"""The name of the note with the model's name, for `cache info`; its space is a fingerprint."""
_Result = TypeVar("_Result")
_PENDING_LIMIT = 5000
_RACY_SECONDS = 2.0
_SECONDS_A_DAY = 86400
_SPACES = """SELECT spaces.name, coalesce(notes.value, ''), count(*), sum(bytes), max(used)
    FROM entries JOIN spaces ON spaces.id = entries.space LEFT JOIN notes
        ON notes.name = 'model' AND notes.space = substr(spaces.name, 1, instr(spaces.name, '/') - 1)
    GROUP BY spaces.id ORDER BY 4 DESC, 1"""


class EmbeddingCache(AbstractContextManager["EmbeddingCache"]):
    """A cache of vectors, shared by any number of processes and threads, but not usable after a fork.

    If the file cannot be used, `say` gets one message, and every method acts as on an empty cache.
    """

    def __init__(self, folder: Path, *, refresh: bool, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._refresh = refresh
        self._say = say
        self._limits = cache_limits(say)
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._writable = True
        self._spaces: dict[str, int] = {}
        self._new_files: dict[bytes, bytes] = {}
        self._uses: list[tuple[int, bytes]] = []
        self._today = int(time.time()) // _SECONDS_A_DAY

    @classmethod
    def open(cls, folder: Path | None = None, *, refresh: bool = False, say: Callable[[str], None]) -> EmbeddingCache:
        """Return the cache in `folder`, by default in `cache_folder()`.

        With `refresh`, lookups find nothing and entries are written again.
        """
        cache = cls(folder or cache_folder(), refresh=refresh, say=say)
        cache._connect()
        return cache

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def is_writable(self) -> bool:
        """Return whether the file is open and no write has failed."""
        return self._db is not None and self._writable

    def known_digest(self, path: str, stat: os.stat_result) -> str | None:
        """Return the stored SHA-256 (hex) of an unchanged file, without reading it; None if it is unknown."""
        if self._refresh:
            return None
        key = database.stamp(path, stat)
        row = self._read(lambda db: db.execute("SELECT digest FROM files WHERE stamp = ?", (key,)).fetchone())
        return row[0].hex() if row else None

    def remember_digest(self, path: str, stat: os.stat_result, digest: str) -> None:
        """Store a file's SHA-256 (hex). `stat` must be from before the bytes were read and be unchanged after.

        A file changed within the last two seconds is not stored, since another write in the same clock tick would
        leave the same stamp.
        """
        if time.time() - max(stat.st_mtime, stat.st_ctime) < _RACY_SECONDS:
            return
        with self._lock:
            self._new_files[database.stamp(path, stat)] = bytes.fromhex(digest)
            if len(self._new_files) >= _PENDING_LIMIT:
                self._write(self._flush)

    def get(self, space: str, keys: Sequence[str]) -> list[Vector | None]:
        """Return the vector (read-only, (dim,) float32) of each SHA-256 key (hex), or None, in the order of `keys`."""
        return [None if entry is None else entry.vector for entry in self._entries(space, keys)]

    def get_blobs(self, space: str, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes that `put_blobs` stored for each SHA-256 key (hex), or None, in the order of `keys`."""
        return [None if entry is None else entry.data for entry in self._entries(space, keys)]

    def _entries(self, space: str, keys: Sequence[str]) -> list[CachedEntry | None]:
        raw = [bytes.fromhex(key) for key in keys]
        entries = {} if self._refresh else self._read(lambda db: self._find(db, space, raw)) or {}
        return [entries.get(key) for key in raw]

    def put(self, space: str, items: Sequence[tuple[str, Vector]]) -> None:
        """Store vectors in one transaction; leave out those that are not finite."""
        dtype = np.dtype(f"<f{self._limits.itemsize}")
        with np.errstate(over="ignore"):  # half precision overflows earlier than float32
            narrow = [(key, vector.astype(dtype)) for key, vector in items]
        data = {bytes.fromhex(key): vector.tobytes() for key, vector in narrow if np.isfinite(vector).all()}
        self._insert(space, data, dtype.itemsize)

    def put_blobs(self, space: str, items: Sequence[tuple[str, bytes]]) -> None:
        """Store bytes for SHA-256 keys (hex) in one transaction. A space holds either vectors or bytes."""
        if items:
            self._insert(space, {bytes.fromhex(key): data for key, data in items}, database.BLOB_ITEMSIZE)

    def _insert(self, space: str, data: Mapping[bytes, bytes], itemsize: int) -> None:
        def write(db: sqlite3.Connection) -> None:
            number = self._spaces.get(space) or database.make_space(db, space)
            if self._refresh:
                database.remove(db, number, list(data))
            database.insert(db, number, data, itemsize, self._today)
            self._flush(db)
            shrink(db, self._limits.max_bytes)

        self._write(write)

    def note(self, space: str, name: str) -> str | None:
        """Return a value that an earlier run stored for a fingerprint or a space, or None."""
        query = "SELECT value FROM notes WHERE space = ? AND name = ?"
        row = self._read(lambda db: db.execute(query, (space, name)).fetchone())
        return row[0] if row else None

    def keep_note(self, space: str, name: str, value: str) -> None:
        """Store a value for `note`."""
        self._write(lambda db: db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (space, name, value)))

    def info(self) -> list[SpaceInfo]:
        """Return the spaces with their number of vectors, the largest first."""
        return [SpaceInfo(*row) for row in self._read(lambda db: db.execute(_SPACES).fetchall()) or []]

    def clear(self) -> int:
        """Remove everything, including broken databases; return the number of removed vectors."""
        with contextlib.suppress(OSError):
            remove_broken(self.folder)
        removed = self._write(remove_everything) or 0
        self._read(return_free_pages)
        return removed

    def prune(self, max_bytes: int | None = None, older_than: timedelta | None = None) -> int:
        """Remove entries unused for `older_than` (whole days), then the least recently used beyond `max_bytes`.

        Returns:
            The number of removed entries.
        """

        def write(db: sqlite3.Connection) -> int:
            self._flush(db)
            expired = 0 if older_than is None else remove_unused_since(db, self._today - older_than.days)
            return expired + (0 if max_bytes is None else shrink(db, max_bytes))

        removed = self._write(write) or 0
        self._read(return_free_pages)
        return removed

    def close(self) -> None:
        """Write pending changes and close the file; may be called twice."""
        with self._lock:
            if self._new_files or self._uses:
                self._write(self._flush)
            if self._db is not None:
                self._db.close()
            self._db = None

    def _connect(self) -> None:
        self._db, self._spaces = None, {}
        try:
            make_private_folder(self.folder)
            self._db = _open_or_rebuild(self.folder, self._say)
        except (OSError, sqlite3.Error, CacheUnusableError) as error:
            reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else error
            self._say(f"cache not used: {self.folder}: {reason}")

    def _find(self, db: sqlite3.Connection, space: str, keys: Sequence[bytes]) -> dict[bytes, CachedEntry]:
        number = self._spaces.get(space) or database.find_space(db, space)
        if number is None:
            return {}
        self._spaces[space] = number
        hits = list(database.find(db, number, keys))
        self._uses += [(number, hit.key) for hit in hits if hit.used < self._today]
        if len(self._uses) >= _PENDING_LIMIT:
            self._write(self._flush)
        return {hit.key: hit for hit in hits}

    def _flush(self, db: sqlite3.Connection) -> None:
        database.keep_files(db, self._new_files, self._today)
        database.touch(db, self._uses, self._today)
        self._new_files, self._uses = {}, []

    def _read(self, action: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        with self._lock:
            if self._db is None:
                return None
            try:
                return action(self._db)
            except sqlite3.Error as error:
                self._give_up(self._db, error)
                return None

    def _write(self, action: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        with self._lock:
            if self._db is None or not self._writable:
                self._new_files, self._uses = {}, []
                return None
            try:
                self._db.execute("BEGIN IMMEDIATE")
                result = action(self._db)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._give_up(self._db, error)
                return None
            except BaseException:  # Ctrl-C in the middle of a batch
                self._db.rollback()
                raise
            return result

    def _give_up(self, db: sqlite3.Connection, error: sqlite3.Error) -> None:
        """Replace a damaged database with a new one; after any other failure make the cache read-only."""
        self._new_files, self._uses = {}, []
        if is_corrupt(error):
            db.close()
            self._say(f"cache damaged ({error}); renamed to {set_aside(current_file(self.folder))}")
            self._connect()
            return
        with contextlib.suppress(sqlite3.Error):
            db.rollback()
        if self._writable:
            self._say(f"cache not written any more: {self.folder}: {error}")
        self._writable = False


def _open_or_rebuild(folder: Path, say: Callable[[str], None]) -> sqlite3.Connection:
    file = current_file(folder)
    try:
        return connect(file)
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        say(f"cache damaged ({error}); renamed to {set_aside(file)}")
    return connect(current_file(folder))


class NoCache(AbstractContextManager["NoCache"]):
    """A cache with the interface of `EmbeddingCache` that finds and stores nothing."""

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def is_writable(self) -> bool:
        """Return False."""
        return False

    def known_digest(self, _path: str, _stat: os.stat_result, /) -> str | None:
        """Return None."""
        return None

    def remember_digest(self, _path: str, _stat: os.stat_result, _digest: str, /) -> None:
        """Store nothing."""

    def get(self, _space: str, keys: Sequence[str], /) -> list[Vector | None]:
        """Return None for every key."""
        return [None] * len(keys)

    def put(self, _space: str, _items: Sequence[tuple[str, Vector]], /) -> None:
        """Store nothing."""

    def get_blobs(self, _space: str, keys: Sequence[str], /) -> list[bytes | None]:
        """Return None for every key."""
        return [None] * len(keys)

    def put_blobs(self, _space: str, _items: Sequence[tuple[str, bytes]], /) -> None:
        """Store nothing."""

    def note(self, _space: str, _name: str, /) -> str | None:
        """Return None."""
        return None

    def keep_note(self, _space: str, _name: str, _value: str, /) -> None:
        """Store nothing."""

    def info(self) -> list[SpaceInfo]:
        """Return an empty list."""
        return []

    def clear(self) -> int:
        """Return 0."""
        return 0

    def prune(self, _max_bytes: int | None = None, _older_than: timedelta | None = None, /) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Do nothing."""
