"""Read texts from lists and tables one by one, in constant memory."""

from __future__ import annotations

import csv
import io
import sys
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clipcli.core.arrow import no_such_column, pyarrow
from clipcli.core.decode import DecodeError, HalfPairError, parse_json
from clipcli.core.files import is_file, open_text, read_lines
from clipcli.core.redaction import redact
from clipcli.errors import ImageError, InputsError, UsageError
from clipcli.inputs.collect import STDIN, ImageRef
from clipcli.inputs.row_filter import RowSelector
from clipcli.inputs.sources import NO_FIELDS, TableColumns
from clipcli.inputs.sources.fetch import open_list, read_errors
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.parquet import Table, is_bytes
from clipcli.inputs.sources.patterns import names_of
from clipcli.inputs.sources.refs import SHARDS
from clipcli.inputs.sources.tar import captions
from clipcli.inputs.sources.text_tables import kept_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from clipcli.inputs.row_filter import Condition

_MAX_LENGTH = 16 << 20
"""Most bytes of a line, or characters of a field."""
_TABLES = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class TextRef:
    """One text, or the reason why it is missing."""

    text: str
    problem: str | None = None
    fields: Mapping[str, object] = field(default_factory=lambda: NO_FIELDS, compare=False, repr=False)
    """Other columns of the table's row, to copy to the output."""


def read_texts(
    texts: Sequence[str], sources: Sequence[str], column: str | None, say: Callable[[str], object] | None = None,
    *, keep: Sequence[str] = (), where: Condition | None = None,
) -> Iterator[TextRef]:  # fmt: skip
    """Return the texts of the command line, then those of the files.

    Args:
        texts: texts as they are.
        sources: files or URLs with one text per line; tables (.csv, .tsv, .jsonl, .parquet) with `column`; shards
            (.tar); `-` is stdin.
        column: the column of tables; stdin is then JSON Lines if its first byte is a brace, else CSV. For shards, the
            extension of the members with texts (default `txt`), or `json:FIELD`.
        say: gets a message about images of a shard without a text.
        keep: columns of tables to keep as `TextRef.fields`; `all` keeps every other column.
        where: the rows of tables to read.

    Raises:
        UsageError: stdin was given twice, or an option for tables without a table.
        InputsError: a file cannot be read, or has no such column.
    """
    if list(sources).count(STDIN) > 1:
        raise UsageError("stdin can be read only once", hint="give - once")
    if column is not None and not sources:
        raise UsageError("--column needs --texts-from", hint="it names the column of a table")
    if (keep or where is not None) and not any(_is_table(source, column) for source in sources):
        option = "--keep" if keep else "--where"
        raise UsageError(f"{option} is for tables", hint="a .csv, .tsv, .jsonl or .parquet file of texts")
    return _read_all(texts, sources, TableColumns(column, tuple(keep), where), say)


def _is_table(source: str, column: str | None) -> bool:
    return _suffix(source) in {*_TABLES, *_JSON_LINES, *_PARQUET} or (source == STDIN and column is not None)


def _suffix(source: str) -> str:
    return Path(source.partition("?")[0] if is_url(source) else source).suffix.lower()


def _read_all(
    texts: Sequence[str], sources: Sequence[str], columns: TableColumns, say: Callable[[str], object] | None
) -> Iterator[TextRef]:
    for text in texts:
        yield TextRef(text)
    for source in sources:
        yield from _read_source(source, columns, say)


def _read_source(source: str, columns: TableColumns, say: Callable[[str], object] | None) -> Iterator[TextRef]:
    suffix, column = _suffix(source), columns.image
    if suffix in SHARDS:
        for archive in names_of(source):
            if isinstance(archive, ImageRef):
                yield TextRef(archive.name, problem=archive.problem)
            else:
                yield from _read_captions(archive, column or "txt", say)
        return
    if suffix in _PARQUET:
        for number, (value, fields) in enumerate(_read_parquet(source, columns), start=1):
            if fields is not None:
                yield _text_ref(value, f"row {number} of {redact(source)}", fields)
        return
    source_name = redact(source)
    with read_errors(source_name), _open_source(source) as stream:
        yield from _parse_stream(stream, source_name, suffix, columns)


def _read_captions(archive: str, column: str, say: Callable[[str], object] | None) -> Iterator[TextRef]:
    """Yield the captions of a shard: members with one extension, or a field of JSON members."""
    extension, _, field = column.partition(":")
    name = ""
    for name, data in captions(archive, extension, say):
        if isinstance(data, ImageError):
            yield TextRef(name, problem=data.reason)
        elif not field:
            yield _decode_line(data)
        else:
            yield _parse_json_caption(data, field, name)
    if not name:
        yield TextRef(redact(archive), problem=f"no member of this shard ends in .{extension}")


def _parse_json_caption(data: bytes, field: str, name: str) -> TextRef:
    try:
        record = parse_json(data)
    except DecodeError:
        return TextRef("", problem=f"{name} is not JSON")
    return _text_ref(record.get(field) if isinstance(record, dict) else None, name)


def _parse_stream(stream: IO[bytes], source: str, suffix: str, columns: TableColumns) -> Iterator[TextRef]:
    if suffix == "" and source == STDIN and columns.image is not None:
        first = stream.peek(1)[:1] if isinstance(stream, io.BufferedReader) else b""
        suffix = ".jsonl" if first == b"{" else ".csv"
    if suffix in _TABLES:
        return _parse_csv(stream, source, _TABLES[suffix], columns)
    if suffix in _JSON_LINES:
        return _parse_json_lines(stream, source, columns)
    if columns.image is not None:
        raise UsageError(f"{source}: --column needs a table", hint="a .csv, .tsv, .jsonl or .parquet")
    return _parse_lines(stream)


def _parse_lines(stream: IO[bytes]) -> Iterator[TextRef]:
    for number, line in enumerate(read_lines(stream, _MAX_LENGTH)):
        yield _decode_line(line if number else line.removeprefix(BOM_UTF8))


def _decode_line(line: bytes) -> TextRef:
    raw = line.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return TextRef(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return TextRef(raw.decode("utf-8", "backslashreplace"), problem="not UTF-8")


def _parse_csv(stream: IO[bytes], source: str, separator: str, columns: TableColumns) -> Iterator[TextRef]:
    column = columns.image
    csv.field_size_limit(_MAX_LENGTH)
    try:
        rows = csv.reader(open_text(stream), delimiter=separator)
        header = next(rows, [])
        text_column = header[0] if column is None and len(header) == 1 else column
        if text_column not in header:
            raise no_such_column(source, column, header)
        index, row_selector = header.index(text_column), _row_selector(source, columns, header, text_column)
        for number, row in enumerate(rows, start=1):
            fields = row_selector.fields(dict(zip(header, row, strict=False)))
            if fields is not None:
                yield _text_ref(row[index] if index < len(row) else None, f"row {number} of {source}", fields)
    except csv.Error as error:
        raise InputsError(f"{source}: not a table ({error})") from error


def _row_selector(source: str, columns: TableColumns, names: Sequence[str], text_column: str) -> RowSelector:
    return RowSelector(columns.where, names, kept_columns(source, columns.keep, names, except_column=text_column))


def _parse_json_lines(stream: IO[bytes], source: str, columns: TableColumns) -> Iterator[TextRef]:
    text_column, row_selector = columns.image, None
    for number, line in enumerate(read_lines(stream, _MAX_LENGTH), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except HalfPairError:
            yield _text_ref(None, f"line {number} of {source}")
            continue
        except DecodeError as error:
            raise InputsError(f"{source}:{number}: {error}") from error
        if not isinstance(record, dict):
            raise InputsError(f"{source}:{number}: not a JSON object")
        if text_column is None and len(record) == 1:
            (text_column,) = record
        if text_column is None or (text_column not in record and number == 1):
            raise no_such_column(source, columns.image, list(record))
        row_selector = row_selector or _row_selector(source, columns, list(record), text_column)
        fields = row_selector.fields(record)
        if fields is not None:
            yield _text_ref(record.get(text_column), f"line {number} of {source}", fields)


def _text_ref(value: object, location: str, fields: Mapping[str, object] = NO_FIELDS) -> TextRef:
    if not isinstance(value, str):
        return TextRef("", problem=f"no text in {location}", fields=fields)
    if any("\ud800" <= character <= "\udfff" for character in value):
        text = value.encode("utf-8", "backslashreplace").decode("utf-8")
        return TextRef(text, problem="not UTF-8", fields=fields)
    return TextRef(value, fields=fields)


def _open_source(source: str) -> IO[bytes]:
    return sys.stdin.buffer if source == STDIN else open_list(source)


def _read_parquet(source: str, columns: TableColumns) -> Iterator[tuple[object, Mapping[str, object] | None]]:
    """Yield the value of a column, None where there is no text, and the kept columns, None for rows not wanted."""
    column = columns.image
    if not is_url(source) and not is_file(source):
        raise InputsError(f"{source}: cannot be read: no such file")
    table, types = Table(source), pyarrow().types
    names = table.file.schema_arrow.names
    text_column = names[0] if column is None and len(names) == 1 else column
    if text_column is None or text_column not in names:
        raise no_such_column(table.shown, column, names)
    kind = table.file.schema_arrow.field(text_column).type
    value_kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(value_kind) or types.is_large_string(value_kind)):
        raise InputsError(f"{table.shown}: the column {text_column} holds {kind}, not text")
    others = [part.name for part in table.schema if part.name == text_column or not is_bytes(part.type)]
    row_selector = _row_selector(table.shown, columns, others, text_column)
    try:
        for group, rows in enumerate(table.groups):
            fields = map(row_selector.fields, table.fields(group, row_selector.columns, rows))
            values = (value.as_py() for value in table.column(group, text_column))
            yield from zip(values, fields, strict=True)
    except ImageError as error:
        raise InputsError(f"{table.shown}: {error.reason}") from error
