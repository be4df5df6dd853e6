"""Rows of any table, as mappings from column to value: CSV, TSV, JSON Lines and Parquet, one after the other."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from clipcli.core.files import words_of
from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError, InputsError
from clipcli.inputs.sources.fetch import open_list
from clipcli.inputs.sources.parquet import Table
from clipcli.inputs.sources.refs import TABLES, has_suffix
from clipcli.inputs.sources.text_tables import TableRecord, read_records
from clipcli.inputs.text_files import STDIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True)
class TableRecords:
    """An open table."""

    shown: str
    """Its name, without secrets."""
    columns: Sequence[str]
    """Of JSON Lines, those of the first row."""
    records: Iterable[TableRecord]


@contextmanager
def open_table(path: str) -> Iterator[TableRecords]:
    """The rows of a table; `-` is JSON Lines on stdin.

    Raises:
        InputsError: it cannot be read, now or while its rows are taken.
    """
    shown = "stdin" if path == STDIN else redact_url(path)
    try:
        if has_suffix(path, TABLES):
            table = Table(path)
            yield TableRecords(shown, list(table.schema.names), _parquet_records(table))
        else:
            with _open(path) as stream:
                name = "rows.jsonl" if path == STDIN else path
                yield TableRecords(shown, *read_records(stream, name, shown))
    except (OSError, ValueError) as error:
        raise InputsError(f"{shown}: cannot be read: {words_of(error).lower()}") from error
    except ImageError as error:
        raise InputsError(f"{shown}: cannot be read: {error.reason}") from error


def _open(path: str) -> IO[bytes]:
    return sys.stdin.buffer if path == STDIN else open_list(path)


def _parquet_records(table: Table) -> Iterator[TableRecord]:
    names = list(table.schema.names)
    for group, rows in enumerate(table.groups):
        yield from map(TableRecord, table.fields(group, names, rows))
