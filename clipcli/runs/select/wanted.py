"""The images that are asked for, in a database on disk: only those of one archive are in memory."""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING, Final

from clipcli.core.redaction import redact_url
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.refs import INSIDE
from clipcli.output.rows import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.runs.select.rows import SelectedRow

_SCHEMA: Final = (
    "CREATE TABLE chosen (id INTEGER PRIMARY KEY, holder BLOB NOT NULL, image BLOB NOT NULL, score REAL, row TEXT)"
)
_TOGETHER: Final = 1000
"""Rows that are written at once."""
FILES: Final = ""
"""The holder of images that are files of their own."""


class WantedImages:
    """Images by what holds them: an archive, or the file system."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a file that nobody else sees
        self._database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")
        self._database.execute("BEGIN")
        self._waiting: list[tuple[bytes, bytes, float, str | None]] = []
        self._places: dict[str, str | None] = {}
        """Name of an archive in the rows → its place; None for a folder."""
        self.rows = 0

    def close(self) -> None:
        """Let go of the database, and with it of its file."""
        self._database.close()

    def add(self, row: SelectedRow, score: float, *, keep_row: bool) -> None:
        """Take a row; whole where it has to be written again."""
        holder, image = FILES, row.image
        if inside := INSIDE.fullmatch(row.image):
            if inside["outer"] not in self._places:
                self._places[inside["outer"]] = _place_in(inside["outer"])
            if place := self._places[inside["outer"]]:
                holder, image = place, inside["inner"]
        whole = json.dumps([row.image, row.columns, as_json(row.fields)]) if keep_row else None
        self._waiting.append((os.fsencode(holder), os.fsencode(image), score, whole))
        self.rows += 1
        if len(self._waiting) == _TOGETHER:
            self._put_away()

    def _put_away(self) -> None:
        self._database.executemany("INSERT INTO chosen (holder, image, score, row) VALUES (?, ?, ?, ?)", self._waiting)
        self._waiting.clear()

    def keep_best(self, share: float) -> None:
        """Leave the best share of the rows, rounded to whole rows; of equal scores, the first."""
        self.rows = round(self.rows * share)
        best = "SELECT id FROM chosen ORDER BY score DESC, id LIMIT ?"
        self._put_away()
        self._database.execute(f"DELETE FROM chosen WHERE id NOT IN ({best})", (self.rows,))  # noqa: S608 - a constant

    def finish(self) -> int:
        """Return how many rows there are; all have come, and what follows may be asked now."""
        self._put_away()
        self._database.execute("CREATE INDEX by_holder ON chosen (holder)")
        return self.rows

    def whole_rows(self) -> Iterator[tuple[str, tuple[str, ...], dict[str, object]]]:
        """Yield image, columns and fields of each row, in their order."""
        for (text,) in self._database.execute("SELECT row FROM chosen ORDER BY id"):
            image, columns, fields = json.loads(text)
            yield image, tuple(columns), fields

    def holders(self) -> list[str]:
        """Return the archives that hold images, as the rows name them, in the order of their first rows."""
        kept = {os.fsdecode(holder) for (holder,) in self._database.execute("SELECT DISTINCT holder FROM chosen")}
        names: dict[str, str] = {}
        for name, place in self._places.items():
            if place in kept:
                names.setdefault(place, name)
        return list(names.values())

    def members(self, holder: str) -> set[str]:
        """Return the images of one archive, by its `place_of`."""
        asked = "SELECT image FROM chosen WHERE holder = ?"
        return {os.fsdecode(image) for (image,) in self._database.execute(asked, (os.fsencode(holder),))}

    def files(self) -> Iterator[str]:
        """Yield the paths of images that are files of their own, each once, in order."""
        asked = "SELECT image FROM chosen WHERE holder = x'' GROUP BY image ORDER BY min(id)"
        return (os.fsdecode(image) for (image,) in self._database.execute(asked))


def _place_in(archive: str) -> str | None:
    """Return the place of an archive; None where a folder has such a name, and what is in it is a file."""
    return None if os.path.isdir(archive) else place_of(archive)  # noqa: PTH112 - any bytes


def place_of(archive: str) -> str:
    """Return the same for two names of one archive, as far as names tell."""
    return redact_url(archive) if is_url(archive) else os.path.abspath(archive)  # noqa: PTH100 - any bytes
