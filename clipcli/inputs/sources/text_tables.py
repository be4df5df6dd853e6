"""Read the images of CSV, TSV and JSON Lines tables, and the columns to keep.

Tables are read row by row, in constant memory. A faulty row is a failure of its own and does not end the run.
"""

from __future__ import annotations

import csv
import os
import posixpath
from codecs import BOM_UTF8
from dataclasses import dataclass
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final

from clipcli.core.arrow import no_such_column
from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.files import open_text, read_lines
from clipcli.core.redaction import redact_url
from clipcli.errors import InputsError, did_you_mean
from clipcli.inputs.row_filter import RowSelector
from clipcli.inputs.sources.fetch import open_list, read_errors
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.refs import INSIDE, TEXT_TABLES, ImageRef, ListedPath, has_suffix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from clipcli.inputs.row_filter import Condition

IMAGE_COLUMNS: Final = (
    "image", "image_path", "image_url", "image_link", "img", "img_url", "photo", "photo_url", "picture", "picture_url",
    "path", "file", "filepath", "file_path", "file_name", "filename", "url",
)  # fmt: skip
"""Names of image columns, best first, for tables without `--column`."""
TEXT_COLUMNS: Final = ("text", "caption", "alt", "alt_text", "prompt", "title", "description")
"""Names of text columns, best first."""
ALL_COLUMNS: Final = "all"
"""Given in place of names: every column."""
_LONGEST: Final = 16 << 20
"""Most bytes of a line, or characters of a field."""
_JSON_LINES: Final = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class TableRecord:
    """A row, or its problem."""

    values: Mapping[str, object]
    problem: str | None = None


def read_rows(
    path: str, column: str | None, keep: Sequence[str], where: Condition | None = None
) -> Iterator[ImageRef | ListedPath]:
    """Yield the paths and URLs of a table, in its order; failures are named `TABLE/ROW`, from 0 on.

    Args:
        path: a file or URL that `is_text_table` accepts.
        column: the column of paths or URLs; None takes the first of IMAGE_COLUMNS in the table.
        keep: columns to keep as fields; `all` keeps every other column.
        where: the rows to read; damaged rows are always yielded.

    Raises:
        InputsError: the table cannot be read, or has no such column.
        UsageError: the condition names a column that does not exist.
    """
    table_name = redact_url(path)
    with read_errors(table_name), open_list(path) as stream:
        names, records = read_records(stream, path, table_name)
        image_column = column_of(table_name, column, names, IMAGE_COLUMNS)
        row_selector = RowSelector(where, names, kept_columns(table_name, keep, names, except_column=image_column))
        for number, record in enumerate(records):
            fields = (
                row_selector.fields(record.values) if record.problem is None else row_selector.carried(record.values)
            )
            if fields is None:
                continue
            yield _reference(path, f"{table_name}/{number}", record, image_column, fields)


def is_text_table(path: str) -> bool:
    """Return whether a name has the suffix of a text table."""
    return has_suffix(path, TEXT_TABLES)


def header_of(path: str) -> list[str]:
    """Return the names of a table's columns. Raises InputsError."""
    table_name = redact_url(path)
    with read_errors(table_name), open_list(path) as stream:
        return list(read_records(stream, path, table_name)[0])


def is_image_list(path: str) -> bool:
    """Return whether a table has a column with a usual name of images, and none of a table of vectors."""
    try:
        names = {name.strip().casefold() for name in header_of(path)}
    except InputsError:
        return False
    return not names & {"embedding", "fingerprint", "v0", "error"} and bool(names & set(IMAGE_COLUMNS))


def column_of(table_name: str, column: str | None, names: Sequence[str], usual: Sequence[str]) -> str:
    """Return the requested column, else the first of the usual names in the table, ignoring case.

    Raises:
        InputsError: there is no such column.
    """
    if column is not None:
        if column not in names:
            raise no_such_column(table_name, column, list(names))
        return column
    by_name = {name.strip().casefold(): name for name in reversed(names)}
    for name in usual:
        if name in by_name:
            return by_name[name]
    if len(names) == 1:
        return names[0]
    raise no_such_column(table_name, None, list(names))


def kept_columns(table_name: str, keep: Sequence[str], names: Sequence[str], *, except_column: str) -> list[str]:
    """Return the columns to keep, each once, in the order given.

    Raises:
        InputsError: the table lacks one of them.
    """
    other_names = [name for name in names if name != except_column]
    kept = dict.fromkeys(chain.from_iterable(other_names if name == ALL_COLUMNS else [name] for name in keep))
    for name in kept:
        if name not in names:
            hint = did_you_mean(name, names) or "its columns are " + ", ".join(names)
            raise InputsError(f"{table_name}: has no column {name}", hint=hint)
    return list(kept)


def beside(table: str, path: str) -> str:
    """Return a path as written if it exists, else relative to the folder of its table."""
    if is_url(table):
        return path if posixpath.isabs(path) else f"{table.rpartition('/')[0]}/{path}"
    from_table = os.path.join(os.path.dirname(table), path)  # noqa: PTH118, PTH120 - any bytes
    return from_table if not _exists(path) and _exists(from_table) else path


def _exists(path: str) -> bool:
    inside = INSIDE.fullmatch(path)
    return os.path.exists(inside["outer"] if inside else path)  # noqa: PTH110


def _reference(
    table: str, name: str, record: TableRecord, column: str, fields: Mapping[str, object]
) -> ImageRef | ListedPath:
    value = record.values.get(column)
    if record.problem is not None:
        return ImageRef(name, name, record.problem, fields=fields)
    if not isinstance(value, str) or not value.strip():
        return ImageRef(name, name, f"no image in the column {column}", fields=fields)
    return listed(table, value, fields)


def listed(table: str, value: str, fields: Mapping[str, object]) -> ImageRef | ListedPath:
    """Return the path in a row of a table, or the problem with it."""
    if has_suffix(value, TEXT_TABLES) or value.lower().endswith((".parquet", ".pq")):
        return ImageRef(value, redact_url(value), "a table within a table", fields=fields)
    return ListedPath(value if is_url(value) else beside(table, value), fields)


def read_records(stream: IO[bytes], path: str, shown: str) -> tuple[Sequence[str], Iterator[TableRecord]]:
    """Return the columns and the rows of an open table; the suffix of the path decides its format.

    Raises:
        InputsError: it is not a table.
        OSError, ValueError, ImageError: it cannot be read.
    """
    if has_suffix(path, (*_JSON_LINES, ".json")):
        return _json_lines(stream, shown)
    return _delimited(stream, shown, "\t" if has_suffix(path, (".tsv",)) else ",")


def _delimited(stream: IO[bytes], table_name: str, separator: str) -> tuple[Sequence[str], Iterator[TableRecord]]:
    csv.field_size_limit(_LONGEST)
    text = open_text(stream)
    first = text.readline(_LONGEST)
    if separator == "," and separator not in first and ";" in first:
        separator = ";"  # spreadsheets use it in countries with a decimal comma
    rows = csv.reader(chain([first], text), delimiter=separator)
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise InputsError(f"{table_name}: not a table ({error})") from error
    if not any(header):
        raise InputsError(f"{table_name}: not a table (its first line has no column names)")
    if twice := next((name for name in header if name and header.count(name) > 1), None):
        raise InputsError(f"{table_name}: two columns are called {twice}", hint="rename one of them")
    return header, _delimited_rows(rows, header)


def _delimited_rows(rows: Any, header: Sequence[str]) -> Iterator[TableRecord]:
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield TableRecord({}, f"not a row of a table ({error})")
            continue
        if not row:
            continue
        problem = f"{len(row)} fields in a table of {len(header)} columns" if len(row) > len(header) else None
        yield TableRecord(dict(zip(header, row, strict=False)), problem)


def _json_lines(stream: IO[bytes], table_name: str) -> tuple[Sequence[str], Iterator[TableRecord]]:
    """Return the columns of the first valid row, and an iterator over all rows."""
    records = _json_rows(stream)
    before: list[TableRecord] = []
    for record in records:
        before.append(record)
        if record.problem is None:
            return list(record.values), chain(before, records)
        if len(before) == _TRIED_LINES:
            break
    problem = before[0].problem if before else "it is empty"
    hint = """one object per line: {"image": …, …}; of an array: jq -c '.[]' FILE > NEW.jsonl"""
    raise InputsError(f"{table_name}: not a table of JSON Lines ({problem})", hint=hint)


_TRIED_LINES: Final = 100
"""Number of damaged first lines after which a file is not taken for a table."""


def _json_rows(stream: IO[bytes]) -> Iterator[TableRecord]:
    lines: Iterable[bytes] = read_lines(stream, _LONGEST)
    for number, line in enumerate(lines):
        # Also the array of `--format json`, which has a row on each line.
        plain = (line if number else line.removeprefix(BOM_UTF8)).strip().removesuffix(b",")
        if plain in {b"", b"[", b"]", b"[]"}:
            continue
        try:
            record = parse_json(plain)
        except DecodeError as error:
            yield TableRecord({}, str(error))
            continue
        yield TableRecord(record) if isinstance(record, dict) else TableRecord({}, "not a JSON object")
