"""Rows of another command: read one by one, chosen, and kept on disk, so that memory is bounded.

TSV without a header is read too: its columns are known by their number and their values.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from clipcli.core.console import printable
from clipcli.core.files import read_lines
from clipcli.core.redaction import redact_url
from clipcli.errors import InputsError
from clipcli.inputs.sources.fetch import open_list, read_errors
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.parquet import Table
from clipcli.inputs.sources.refs import INSIDE, TABLES, has_suffix
from clipcli.inputs.sources.text_tables import IMAGE_COLUMNS, TableRecord, column_of, read_records
from clipcli.inputs.text_files import STDIN
from clipcli.output.rows import as_json, cell_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from clipcli.core.console import RunSummary
    from clipcli.inputs.row_filter import Condition, RowFilter

ERROR_COLUMN: Final = "error"
_TSV_LAYOUTS: Final = (
    ("image", "text", "score"),  # of `score`; of `classify`, whose label is the text
    ("query", "rank", "image", "score"),
    ("group", "image", "level", "keep", "similarity", "min_similarity"),
)
_NUMBER_COLUMNS: Final = frozenset(("score", "rank", "group", "similarity", "min_similarity"))
_LONGEST_LINE: Final = 16 << 20
"""Bytes."""
_SCHEMA: Final = (
    "CREATE TABLE chosen (id INTEGER PRIMARY KEY, holder BLOB NOT NULL, image BLOB NOT NULL, score REAL, row TEXT)"
)
_ROWS_AT_ONCE: Final = 1000
"""Rows that go into the database together."""
FILES: Final = ""
"""The holder of images that are files of their own."""


@dataclass(frozen=True)
class SelectedRow:
    """A row as it was read."""

    image: str
    columns: tuple[str, ...]
    fields: Mapping[str, object]

    @property
    def path(self) -> str:
        """Return the image, in a list of bare paths."""
        return self.image

    def record(self) -> Mapping[str, object]:
        """Return every column."""
        return {name: as_json(value) for name, value in self.fields.items() if name != ERROR_COLUMN}

    def cells(self) -> list[tuple[str, ...]]:
        """Return one line."""
        return [tuple(cell_of(self.fields.get(name)) for name in self.columns)]


@dataclass(frozen=True)
class RowConditions:
    """The conditions for chosen rows."""

    column: str | None = None
    """Column of images; None takes the first of a usual name."""
    score_column: str = "score"
    min_score: float | None = None
    top_share: float | None = None
    """Share of the rows that pass the other conditions."""
    where: Condition | None = None

    @property
    def needs_score(self) -> bool:
        """Return whether a row without a score cannot be judged."""
        return self.min_score is not None or self.top_share is not None


@dataclass
class RowReader:
    """Reads files of rows, and counts rows that cannot be used."""

    conditions: RowConditions
    report: RunSummary
    read: int = 0
    errors: int = 0
    """Rows of inputs that the other command could not use."""

    def rows(self, files: Sequence[str]) -> Iterator[tuple[SelectedRow, float]]:
        """Yield the rows that pass, each with its score, or 0 if none is needed; `top_share` is left to `ChosenRows`.

        Raises:
            InputsError: a file cannot be read, or has no column of images or of scores.
            UsageError: the condition names a column that is missing.
        """
        for file in files:
            with open_rows(file, self.conditions.column) as table:
                column = column_of(table.shown, self.conditions.column, table.columns, IMAGE_COLUMNS)
                if self.conditions.needs_score and self.conditions.score_column not in table.columns:
                    raise _no_scores(table.shown, self.conditions.score_column, table.columns)
                columns = tuple(name for name in table.columns if name != ERROR_COLUMN)
                condition = None if self.conditions.where is None else self.conditions.where.bind(table.columns)
                for number, record in enumerate(table.records):
                    self.read += 1
                    if record.problem is not None:
                        self._fail(f"{table.shown}/{number}", record.problem)
                    elif record.values.get(ERROR_COLUMN):
                        self.errors += 1
                    else:
                        yield from self._passing(f"{table.shown}/{number}", record.values, column, columns, condition)

    def _passing(
        self, name: str, values: Mapping[str, object], column: str, columns: tuple[str, ...],
        condition: RowFilter | None,
    ) -> Iterator[tuple[SelectedRow, float]]:  # fmt: skip
        image, score = values.get(column), 0.0
        if not isinstance(image, str) or not image:
            self._fail(name, f"no image in the column {column}")
            return
        if self.conditions.needs_score:
            number = _number(values.get(self.conditions.score_column))
            if number is None:
                self._fail(name, f"no number in the column {self.conditions.score_column}")
                return
            score = number
            if self.conditions.min_score is not None and score < self.conditions.min_score:
                return
        if condition is None or condition.takes(values):
            yield SelectedRow(image, columns, values), score

    def _fail(self, name: str, reason: str) -> None:
        self.report.failed += 1
        self.report.console.line(f"{printable(name)}: {reason}")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number == number else None  # noqa: PLR0124 - NaN is unlike itself


def _no_scores(shown: str, column: str, columns: Sequence[str]) -> InputsError:
    return InputsError(f"{shown}: has no column {column}", hint="--by takes one of " + ", ".join(columns))


@dataclass(frozen=True)
class TableRecords:
    """An open table."""

    shown: str
    """The name of the table, without secrets."""
    columns: Sequence[str]
    """The names of the columns; of JSON Lines, those of the first row."""
    records: Iterable[TableRecord]


@contextmanager
def open_table(path: str) -> Iterator[TableRecords]:
    """Open a table: CSV, TSV, JSON Lines or Parquet; `-` is JSON Lines on stdin.

    Raises:
        InputsError: it cannot be read, now or while its rows are taken.
    """
    shown = "stdin" if path == STDIN else redact_url(path)
    with read_errors(shown):
        if has_suffix(path, TABLES):
            table = Table(path)
            yield TableRecords(shown, list(table.schema.names), _parquet_records(table))
        else:
            with _open_stream(path) as stream:
                name = "rows.jsonl" if path == STDIN else path
                yield TableRecords(shown, *read_records(stream, name, shown))


def _open_stream(path: str) -> IO[bytes]:
    return sys.stdin.buffer if path == STDIN else open_list(path)


def _parquet_records(table: Table) -> Iterator[TableRecord]:
    names = list(table.schema.names)
    for group, rows in enumerate(table.groups):
        yield from map(TableRecord, table.fields(group, names, rows))


@contextmanager
def open_rows(path: str, column: str | None) -> Iterator[TableRecords]:
    """Open a table, or rows of another command as TSV without a header.

    Raises:
        InputsError: it cannot be read, now or while its rows are taken, or it has neither a header nor known columns.
    """
    first = _first_cells(path) if column is None and has_suffix(path, (".tsv",)) else []
    if not first or {cell.strip().casefold() for cell in first} & set(IMAGE_COLUMNS):
        with open_table(path) as table:
            yield table
        return
    shown = redact_url(path)
    layout = next((columns for columns in _TSV_LAYOUTS if _has_columns(first, columns)), None)
    if layout is None:
        hint = "--format csv or jsonl writes the names of the columns, and --column NAME names that of the images"
        raise InputsError(f"{shown}: has no header with a column of images", hint=hint)
    yield TableRecords(shown, (*layout, ERROR_COLUMN), _tsv_records(path, shown, layout))


def _has_columns(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Return whether a line has these columns; that of a failed input has a reason behind them."""
    if len(cells) == len(columns) + 1 and ": " in cells[-1]:  # stage and reason
        return True
    pairs = zip(columns, cells, strict=False)
    return len(cells) == len(columns) and all(_is_number(cell) for name, cell in pairs if name in _NUMBER_COLUMNS)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _first_cells(path: str) -> list[str]:
    return next(_tsv_lines(path, redact_url(path)), [])


def _tsv_records(path: str, shown: str, columns: Sequence[str]) -> Iterator[TableRecord]:
    for cells in _tsv_lines(path, shown):
        if len(cells) in {len(columns), len(columns) + 1}:
            yield TableRecord(dict(zip((*columns, ERROR_COLUMN), cells, strict=False)))
        else:
            yield TableRecord({}, f"{len(cells)} fields, not {len(columns)}")


def _tsv_lines(path: str, shown: str) -> Iterator[list[str]]:
    with read_errors(shown), open_list(path) as stream:
        for line in read_lines(stream, _LONGEST_LINE):
            yield line.decode("utf-8", "surrogateescape").rstrip("\r\n").split("\t")


class ChosenRows:
    """The rows that are chosen, in a database on disk, by what holds their images: an archive, or the file system."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a file that nobody else sees
        self._database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")
        self._database.execute("BEGIN")
        self._pending: list[tuple[bytes, bytes, float, str | None]] = []
        self._keys: dict[str, str | None] = {}
        """Name of an archive in the rows → its `archive_key`; None for a folder."""
        self.rows = 0

    def close(self) -> None:
        """Close the database, which removes its file."""
        self._database.close()

    def add(self, row: SelectedRow, score: float, *, keep_row: bool) -> None:
        """Add a row; `keep_row` also keeps its columns, to write it again."""
        holder, image = FILES, row.image
        if inside := INSIDE.fullmatch(row.image):
            if inside["outer"] not in self._keys:
                self._keys[inside["outer"]] = _key_of_archive(inside["outer"])
            if key := self._keys[inside["outer"]]:
                holder, image = key, inside["inner"]
        text = json.dumps([row.image, row.columns, as_json(row.fields)]) if keep_row else None
        self._pending.append((os.fsencode(holder), os.fsencode(image), score, text))
        self.rows += 1
        if len(self._pending) == _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._database.executemany("INSERT INTO chosen (holder, image, score, row) VALUES (?, ?, ?, ?)", self._pending)
        self._pending.clear()

    def keep_best(self, share: float) -> None:
        """Leave the best share of the rows, rounded to whole rows; of equal scores, the first."""
        self.rows = round(self.rows * share)
        best = "SELECT id FROM chosen ORDER BY score DESC, id LIMIT ?"
        self._flush()
        self._database.execute(f"DELETE FROM chosen WHERE id NOT IN ({best})", (self.rows,))  # noqa: S608 - a constant

    def finish(self) -> int:
        """Return the number of rows; call it after the last row, and before reading."""
        self._flush()
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
        for name, key in self._keys.items():
            if key in kept:
                names.setdefault(key, name)
        return list(names.values())

    def members(self, holder: str) -> set[str]:
        """Return the images of one archive, by its `archive_key`."""
        query = "SELECT image FROM chosen WHERE holder = ?"
        return {os.fsdecode(image) for (image,) in self._database.execute(query, (os.fsencode(holder),))}

    def files(self) -> Iterator[str]:
        """Yield the paths of images that are files of their own, each once, in order."""
        query = "SELECT image FROM chosen WHERE holder = x'' GROUP BY image ORDER BY min(id)"
        return (os.fsdecode(image) for (image,) in self._database.execute(query))


def _key_of_archive(archive: str) -> str | None:
    """Return the key of an archive; None for a folder of that name, whose images are files."""
    return None if os.path.isdir(archive) else archive_key(archive)  # noqa: PTH112 - any bytes


def archive_key(archive: str) -> str:
    """Return a key that is the same for all names of one archive, as far as names tell."""
    return redact_url(archive) if is_url(archive) else os.path.abspath(archive)  # noqa: PTH100 - any bytes
