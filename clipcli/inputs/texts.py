"""Read texts from lists and tables one by one, in constant memory."""

from __future__ import annotations

import csv
import io
import sys
from codecs import BOM_UTF8
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clipcli.core.arrow import no_such_column, pyarrow
from clipcli.core.decode import DecodeError, HalfPairError, parse_json
from clipcli.core.files import is_file, read_lines, words_of
from clipcli.core.redaction import redact
from clipcli.errors import ImageError, InputsError, UsageError
from clipcli.inputs.collect import STDIN, ImageRef
from clipcli.inputs.sources.captions import captions
from clipcli.inputs.sources.fetch import open_list
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.parquet import Table
from clipcli.inputs.sources.patterns import names_of
from clipcli.inputs.sources.suffixes import SHARDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LONGEST = 16 << 20
"""Most bytes of a line, or characters of a field."""
_TABLES = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class TextRef:
    """One text, or the reason why it is missing."""

    text: str
    problem: str | None = None


def read_texts(
    given: Sequence[str], sources: Sequence[str], column: str | None, say: Callable[[str], object] | None = None
) -> Iterator[TextRef]:
    """Return the texts of the command line, then those of the files.

    Args:
        given: texts as they are.
        sources: files or URLs with one text per line; tables (.csv, .tsv, .jsonl, .parquet) with `column`; shards
            (.tar); `-` is stdin.
        column: the column of tables; stdin is then JSON Lines if its first byte is a brace, else CSV. For shards, the
            extension of the members with texts (default `txt`), or `json:FIELD`.
        say: gets a message about images of a shard without a text.

    Raises:
        UsageError: stdin was given twice, or `column` without a table.
        InputsError: a file cannot be read, or has no such column.
    """
    if list(sources).count(STDIN) > 1:
        raise UsageError("stdin can be read only once", hint="give - once")
    if column is not None and not sources:
        raise UsageError("--column needs --texts-from", hint="it names the column of a table")
    return _all(given, sources, column, say)


def _all(
    given: Sequence[str], sources: Sequence[str], column: str | None, say: Callable[[str], object] | None
) -> Iterator[TextRef]:
    for text in given:
        yield TextRef(text)
    for source in sources:
        yield from _read(source, column, say)


def _read(source: str, column: str | None, say: Callable[[str], object] | None) -> Iterator[TextRef]:
    suffix = Path(source.partition("?")[0] if is_url(source) else source).suffix.lower()
    if suffix in SHARDS:
        for archive in names_of(source):
            if isinstance(archive, ImageRef):
                yield TextRef(archive.name, problem=archive.problem)
            else:
                yield from _captions(archive, column or "txt", say)
        return
    if suffix in _PARQUET:
        for number, value in enumerate(_parquet_column(source, column), start=1):
            yield _ref(value, f"row {number} of {redact(source)}")
        return
    source_name = redact(source)
    try:
        with _open(source) as stream:
            yield from _parse(stream, source_name, suffix, column)
    except (OSError, ValueError) as error:
        raise InputsError(f"{source_name}: cannot be read: {words_of(error).lower()}") from error
    except ImageError as error:
        raise InputsError(f"{source_name}: cannot be read: {error.reason}") from error


def _captions(archive: str, column: str, say: Callable[[str], object] | None) -> Iterator[TextRef]:
    """Yield the captions of a shard: members with one extension, or a field of JSON members."""
    extension, _, field = column.partition(":")
    name = ""
    for name, data in captions(archive, extension, say):
        if isinstance(data, ImageError):
            yield TextRef(name, problem=data.reason)
        elif not field:
            yield _decoded(data)
        else:
            yield _field(data, field, name)
    if not name:
        yield TextRef(redact(archive), problem=f"no member of this shard ends in .{extension}")


def _field(data: bytes, field: str, name: str) -> TextRef:
    try:
        record = parse_json(data)
    except DecodeError:
        return TextRef("", problem=f"{name} is not JSON")
    return _ref(record.get(field) if isinstance(record, dict) else None, name)


def _parse(stream: IO[bytes], source: str, suffix: str, column: str | None) -> Iterator[TextRef]:
    if suffix == "" and source == STDIN and column is not None:
        first = stream.peek(1)[:1] if isinstance(stream, io.BufferedReader) else b""
        suffix = ".jsonl" if first == b"{" else ".csv"
    if suffix in _TABLES:
        return _table(stream, source, _TABLES[suffix], column)
    if suffix in _JSON_LINES:
        return _json_lines(stream, source, column)
    if column is not None:
        raise UsageError(f"{source}: --column needs a table", hint="a .csv, .tsv, .jsonl or .parquet")
    return _lines(stream)


def _lines(stream: IO[bytes]) -> Iterator[TextRef]:
    for number, line in enumerate(read_lines(stream, _LONGEST)):
        yield _decoded(line if number else line.removeprefix(BOM_UTF8))


def _decoded(line: bytes) -> TextRef:
    raw = line.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return TextRef(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return TextRef(raw.decode("utf-8", "backslashreplace"), problem="not UTF-8")


def _table(stream: IO[bytes], source: str, separator: str, column: str | None) -> Iterator[TextRef]:
    csv.field_size_limit(_LONGEST)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        rows = csv.reader(text, delimiter=separator)
        header = next(rows, [])
        chosen = header[0] if column is None and len(header) == 1 else column
        if chosen not in header:
            raise no_such_column(source, column, header)
        index = header.index(chosen)
        for number, row in enumerate(rows, start=1):
            yield _ref(row[index] if index < len(row) else None, f"row {number} of {source}")
    except csv.Error as error:
        raise InputsError(f"{source}: not a table ({error})") from error


def _json_lines(stream: IO[bytes], source: str, column: str | None) -> Iterator[TextRef]:
    chosen = column
    for number, line in enumerate(read_lines(stream, _LONGEST), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except HalfPairError:
            yield _ref(None, f"line {number} of {source}")
            continue
        except DecodeError as error:
            raise InputsError(f"{source}:{number}: {error}") from error
        if not isinstance(record, dict):
            raise InputsError(f"{source}:{number}: not a JSON object")
        if chosen is None and len(record) == 1:
            (chosen,) = record
        if chosen is None or (chosen not in record and number == 1):
            raise no_such_column(source, column, list(record))
        yield _ref(record.get(chosen), f"line {number} of {source}")


def _ref(value: object, location: str) -> TextRef:
    if not isinstance(value, str):
        return TextRef("", problem=f"no text in {location}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        return TextRef(value.encode("utf-8", "backslashreplace").decode("utf-8"), problem="not UTF-8")
    return TextRef(value)


def _open(source: str) -> IO[bytes]:
    return sys.stdin.buffer if source == STDIN else open_list(source)


def _parquet_column(source: str, column: str | None) -> Iterator[object]:
    """Yield the values of a column, row group by row group; None where there is no text."""
    if not is_url(source) and not is_file(source):
        raise InputsError(f"{source}: cannot be read: no such file")
    table, types = Table(source), pyarrow().types
    names = table.file.schema_arrow.names
    chosen = names[0] if column is None and len(names) == 1 else column
    if chosen is None or chosen not in names:
        raise no_such_column(table.shown, column, names)
    kind = table.file.schema_arrow.field(chosen).type
    value_kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(value_kind) or types.is_large_string(value_kind)):
        raise InputsError(f"{table.shown}: the column {chosen} holds {kind}, not text")
    try:
        for group in range(len(table.groups)):
            yield from (value.as_py() for value in table.column(group, chosen))
    except ImageError as error:
        raise InputsError(f"{table.shown}: {error.reason}") from error
