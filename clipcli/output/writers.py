"""The writers of rows: TSV, CSV, groups, lists of paths, JSON Lines, JSON, and a table for people.

Parquet is in `parquet_rows.py`.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from clipcli.core.console import printable
from clipcli.core.redaction import redact
from clipcli.output.rows import ErrorRow, dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from clipcli.output.rows import Row, RowBlock
    from clipcli.output.targets import Target

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")
"""First characters of formulas, including full-width forms, which East Asian spreadsheets accept."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)
_FILE_WIDTH = 160
"""Width in characters of a table in a file."""


def without_formula(cell: str) -> str:
    """Return a cell that no spreadsheet runs as a formula: such text gets an apostrophe, numbers stay."""
    if not cell.lstrip().startswith(_FORMULA) and not cell.startswith(("\t", "\r", "\n")):
        return cell
    return cell if _NUMBER.fullmatch(cell) else f"'{cell}"


class _DelimitedWriter:
    """Writes rows as they come; a failed input has its name in the name's column, and the reason in one more column."""

    def __init__(self, target: Target, *, escape_formulas: bool = False) -> None:
        """Create a writer; `escape_formulas` puts an apostrophe before cells that a spreadsheet would run."""
        self.target = target
        self.escape_formulas = escape_formulas
        self._columns: tuple[str, ...] = ()
        self._waiting: list[ErrorRow] = []
        """Failures before the first good row, whose columns are not known yet."""

    def write(self, row: Row) -> None:
        """Write the row's lines and flush them."""
        if not isinstance(row, ErrorRow):
            if not self._columns:
                self._begin(row.columns)
            for cells in row.cells():
                self._write_good(self._plain(cells))
        elif self._columns:
            self._write_line(self._plain(row.cells_under(self._columns)))
        else:
            self._waiting.append(row)
            return
        self.target.flush()

    def write_block(self, block: RowBlock) -> None:
        """Write the lines of many rows."""
        if not self._columns:
            self._begin(block.columns)
        columns: Sequence[Sequence[str]] = block.cell_columns()
        if self.escape_formulas:
            columns = [[without_formula(cell) for cell in column] for column in columns]
        self._write_columns(columns)
        self.target.flush()

    def close(self) -> None:
        """Write the failures if there was no good row."""
        if not self._columns:
            self._begin(ErrorRow.columns[:1])

    def _begin(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        for row in self._waiting:
            self._write_line(self._plain(row.cells_under(columns)))

    def _plain(self, cells: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(without_formula, cells)) if self.escape_formulas else cells

    def _write_good(self, cells: tuple[str, ...]) -> None:
        self._write_line(cells)

    def _write_line(self, cells: tuple[str, ...]) -> None:
        raise NotImplementedError

    def _write_columns(self, columns: Sequence[Sequence[str]]) -> None:
        raise NotImplementedError


class TsvWriter(_DelimitedWriter):
    """Writes tab-separated rows. Control characters in a cell are escaped, so every line is a row."""

    def __init__(self, target: Target, *, escape_formulas: bool = False, header: bool = False) -> None:
        """Create a writer; with `header`, the first line names the columns."""
        super().__init__(target, escape_formulas=escape_formulas)
        self.header = header

    def _begin(self, columns: tuple[str, ...]) -> None:
        if self.header and columns != ErrorRow.columns[:1]:  # without rows the columns are unknown
            self._write_line(columns)
        super()._begin(columns)

    def _write_line(self, cells: tuple[str, ...]) -> None:
        line = "\t".join(map(printable, cells)) + "\n"
        self.target.write(line.encode("utf-8", "backslashreplace"))

    def _write_columns(self, columns: Sequence[Sequence[str]]) -> None:
        shown = ([printable(cell) for cell in column] for column in columns)
        lines = "".join([f"{line}\n" for line in map("\t".join, zip(*shown, strict=True))])
        self.target.write(lines.encode("utf-8", "backslashreplace"))


class CsvWriter(_DelimitedWriter):
    """Writes CSV by RFC 4180, with a header and a last column `error`."""

    def _begin(self, columns: tuple[str, ...]) -> None:
        self._write_line((*columns, "error"))
        super()._begin(columns)

    def _write_good(self, cells: tuple[str, ...]) -> None:
        self._write_line((*cells, ""))

    def _write_line(self, cells: tuple[str, ...]) -> None:
        buffer = io.StringIO()
        safe = [printable(cell) for cell in cells] if self.target.is_terminal else cells
        # With "\n" alone, a carriage return in a name would not be quoted before Python 3.13.
        csv.writer(buffer, lineterminator="\r\n").writerow(safe)
        line = buffer.getvalue().removesuffix("\r\n") + "\n"
        self.target.write(line.encode("utf-8", "surrogateescape"))

    def _write_columns(self, columns: Sequence[Sequence[str]]) -> None:
        rows = zip(*columns, strict=True)
        if self.target.is_terminal or any("\r" in cell for column in columns for cell in column):
            for row in rows:
                self._write_good(row)
            return
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows((*row, "") for row in rows)
        self.target.write(buffer.getvalue().encode("utf-8", "surrogateescape"))


class GroupedRow(Protocol):
    """A row that may be a copy of a file to keep."""

    image: str

    @property
    def copy_of(self) -> str | None:
        """Return the file to keep in its place; None for a file to keep."""
        ...


class GroupsWriter:
    """Writes each group as the file to keep, the files to remove, and an empty line (the form of `fdupes`)."""

    def __init__(self, target: Target, *, null: bool) -> None:
        self.target, self.null = target, null
        self._keeper: str | None = None

    def write(self, row: Row) -> None:
        """Write the row's image; a new group begins with a blank line and the file to keep."""
        if "group" not in row.columns:
            return
        grouped = cast("GroupedRow", row)
        if (keeper := grouped.copy_of) is None:
            return
        if keeper != self._keeper:
            self.target.write(b"" if self._keeper is None else b"\n")
            self._line(keeper)
        self._keeper = keeper
        self._line(grouped.image)
        self.target.flush()

    def _line(self, name: str) -> None:
        display_name = printable(name) if self.target.is_terminal and not self.null else name
        write = self.target.write_exact if self.null else self.target.write
        write(os.fsencode(display_name) + (b"\0" if self.null else b"\n"))

    def close(self) -> None:
        """Do nothing: all rows are written."""


class PathsWriter:
    """Writes one path per line, or NUL-terminated; with the bytes of the file name, except on a terminal."""

    def __init__(self, target: Target, *, null: bool) -> None:
        self.target, self.null = target, null

    def write(self, row: Row) -> None:
        """Write the row's path, if it has one."""
        if row.path is None:
            return
        path = redact(row.path)
        name = printable(path) if self.target.is_terminal and not self.null else path
        write = self.target.write_exact if self.null else self.target.write
        write(os.fsencode(name) + (b"\0" if self.null else b"\n"))
        self.target.flush()

    def close(self) -> None:
        """Do nothing: all rows are written."""


class JsonLinesWriter:
    """Writes one line per row and flushes it."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def write(self, row: Row) -> None:
        """Write one line."""
        self.target.write(dumps(row.record()).encode("utf-8") + b"\n")
        self.target.flush()

    def write_block(self, block: RowBlock) -> None:
        """Write many lines."""
        self.target.write("".join([f"{text}\n" for text in block.json_texts()]).encode("utf-8"))
        self.target.flush()

    def close(self) -> None:
        """Do nothing: all rows are written."""


class JsonArrayWriter:
    """Writes one array of all rows, one element per line, each flushed."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._opened = False

    def write(self, row: Row) -> None:
        """Write one element."""
        separator = b",\n " if self._opened else b"[\n "
        self._opened = True
        self.target.write(separator + dumps(row.record()).encode("utf-8"))
        self.target.flush()

    def close(self) -> None:
        """Close the array; without rows, write an empty one."""
        self.target.write(b"\n]\n" if self._opened else b"[]\n")


@runtime_checkable
class TableRow(Protocol):
    """A row with other columns for people than for programs."""

    @property
    def table_columns(self) -> tuple[str, ...]:
        """Return the names of the cells."""
        ...

    def table_cells(self) -> Sequence[tuple[str, ...]]:
        """Return the row as one or more lines."""
        ...


class TableWriter:
    """Keeps the rows, since the widths of the columns depend on all of them, and draws a table at the end."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        """Keep the row."""
        self._rows.append(row)

    def close(self) -> None:
        """Draw the table, if there are rows."""
        if not self._rows:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        columns = next((_table_columns(row) for row in self._rows if not isinstance(row, ErrorRow)), ("image",))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, padding=(0, 1, 0, 0))
        for position, name in enumerate(columns):
            numeric = position > 0 and self._is_numeric(position)
            heading = name.replace("_", "\n")  # narrow, to leave space for file names
            table.add_column(heading, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
        for row in self._rows:
            for cells in _table_cells(row):
                if isinstance(row, ErrorRow):
                    texts = _failure_cells(row, columns)
                else:
                    texts = [Text(printable(cell)) for cell in cells]
                table.add_row(*texts)
        width = shutil.get_terminal_size().columns if self.target.is_terminal else _FILE_WIDTH
        drawn = io.StringIO()
        console = Console(file=drawn, width=width, force_terminal=self.target.is_terminal, highlight=False)
        console.print(table)
        lines = "\n".join(line.rstrip() for line in drawn.getvalue().splitlines())
        self.target.write(lines.strip("\n").encode("utf-8", "backslashreplace") + b"\n")

    def _is_numeric(self, position: int) -> bool:
        good = [cells[position] for row in self._rows if not isinstance(row, ErrorRow) for cells in _table_cells(row)]
        return bool(good) and all(cell.replace(".", "", 1).lstrip("-").isdigit() for cell in good if cell)


def _table_columns(row: Row) -> tuple[str, ...]:
    return row.table_columns if isinstance(row, TableRow) else row.columns


def _table_cells(row: Row) -> Sequence[tuple[str, ...]]:
    return row.table_cells() if isinstance(row, TableRow) else row.cells()


def _failure_cells(row: ErrorRow, columns: tuple[str, ...]) -> list[Text]:
    """Return the cells of a failure: the reason is in the second column if names are in the first, else beside it."""
    from rich.text import Text

    name, reason = (Text(printable(cell)) for cell in row.cells()[0])
    reason.stylize("red")
    if column := columns.index("image") if "image" in columns else 0:
        return [*[Text()] * column, Text.assemble(name, "  ", reason)]
    return [name, reason][: len(columns)]
