"""Keeping the database within its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

_LOW_WATER = 0.9  # shrink to this share of the bound, so that the next batch does not shrink again


def size(db: sqlite3.Connection) -> int:
    """Bytes in use inside the file; pages that were freed do not count, they are filled again first."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, page_bytes = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * page_bytes


def to_size(db: sqlite3.Connection, max_bytes: int) -> int:
    """Remove the longest unused entries, the first written first among equals, once the file exceeds `max_bytes`."""
    removed = 0
    while (now := size(db)) > max_bytes:
        entries = _count(db)
        if entries == 0:  # only file stamps are left
            db.execute("DELETE FROM files")
            break
        share = 1 - _LOW_WATER * max_bytes / now
        removed += _remove(db, "SELECT vector FROM entries ORDER BY used, vector LIMIT ?", int(entries * share) + 1)
    return removed


def unused_since(db: sqlite3.Connection, day: int) -> int:
    """Remove what was last used before `day`."""
    db.execute("DELETE FROM files WHERE used < ?", (day,))
    return _remove(db, "SELECT vector FROM entries WHERE used < ?", day)


def everything(db: sqlite3.Connection) -> int:
    """Remove all rows but the spaces: their numbers must never mean another model to a process that knows them."""
    removed = _count(db)
    for table in ("entries", "vectors", "files", "notes"):
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
    return removed


def give_back(db: sqlite3.Connection) -> None:
    """Return freed pages to the file system; outside a transaction."""
    db.executescript("PRAGMA incremental_vacuum")  # execute() would take one step, which frees one page
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM entries").fetchone()[0])


def _remove(db: sqlite3.Connection, query: str, value: int) -> int:
    db.execute("CREATE TEMP TABLE IF NOT EXISTS doomed (vector INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM doomed")
    db.execute(f"INSERT INTO doomed {query}", (value,))
    db.execute("DELETE FROM vectors WHERE id IN (SELECT vector FROM doomed)")
    return db.execute("DELETE FROM entries WHERE vector IN (SELECT vector FROM doomed)").rowcount
