"""Rows of other commands as TSV, which has no header: their columns are known by their number and their values."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from clipcli.core.files import read_lines, words_of
from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError, InputsError
from clipcli.inputs.sources.fetch import open_list
from clipcli.inputs.sources.refs import has_suffix
from clipcli.inputs.sources.text_tables import IMAGE_COLUMNS, TableRecord
from clipcli.inputs.table_records import TableRecords, open_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LAYOUTS: Final = (
    ("image", "text", "score"),  # of `score`; of `classify`, whose label is the text
    ("query", "rank", "image", "score"),
    ("group", "image", "level", "keep", "similarity", "min_similarity"),
)
_NUMBERS: Final = frozenset(("score", "rank", "group", "similarity", "min_similarity"))
_LONGEST: Final = 16 << 20
"""Most bytes of a line."""
_ERROR: Final = "error"


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
    layout = next((columns for columns in _LAYOUTS if _fits(first, columns)), None)
    if layout is None:
        hint = "--format csv or jsonl writes the names of the columns, and --column NAME names that of the images"
        raise InputsError(f"{shown}: has no header with a column of images", hint=hint)
    yield TableRecords(shown, (*layout, _ERROR), _records(path, shown, layout))


def _fits(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Return whether a line has these columns; that of a failed input has a reason behind them."""
    if len(cells) == len(columns) + 1 and ": " in cells[-1]:  # stage and reason
        return True
    pairs = zip(columns, cells, strict=False)
    return len(cells) == len(columns) and all(_is_number(cell) for name, cell in pairs if name in _NUMBERS)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _first_cells(path: str) -> list[str]:
    return next(_lines(path, redact_url(path)), [])


def _records(path: str, shown: str, columns: Sequence[str]) -> Iterator[TableRecord]:
    for cells in _lines(path, shown):
        if len(cells) in {len(columns), len(columns) + 1}:
            yield TableRecord(dict(zip((*columns, _ERROR), cells, strict=False)))
        else:
            yield TableRecord({}, f"{len(cells)} fields, not {len(columns)}")


def _lines(path: str, shown: str) -> Iterator[list[str]]:
    try:
        with open_list(path) as stream:
            for line in read_lines(stream, _LONGEST):
                yield line.decode("utf-8", "surrogateescape").rstrip("\r\n").split("\t")
    except (OSError, ValueError) as error:
        raise InputsError(f"{shown}: cannot be read: {words_of(error).lower()}") from error
    except ImageError as error:
        raise InputsError(f"{shown}: cannot be read: {error.reason}") from error
