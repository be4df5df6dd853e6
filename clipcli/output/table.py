"""A table for people, drawn by Rich at the end of the run."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from clipcli.core.console import printable
from clipcli.output.rows import ErrorRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from clipcli.output.rows import Row
    from clipcli.output.targets import Target

_FILE_WIDTH = 160
"""Width in characters of a table in a file."""


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


@dataclass
class TableWriter:
    """Keeps the rows, since the widths of the columns depend on all of them, and draws a table at the end."""

    target: Target
    _rows: list[Row] = field(default_factory=list)

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

        columns = next((_columns(row) for row in self._rows if not isinstance(row, ErrorRow)), ("image",))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, padding=(0, 1, 0, 0))
        for position, name in enumerate(columns):
            numeric = position > 0 and self._is_numeric(position)
            heading = name.replace("_", "\n")  # narrow, to leave space for file names
            table.add_column(heading, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
        for row in self._rows:
            for cells in _cells(row):
                if isinstance(row, ErrorRow):
                    texts = _failure(row, columns)
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
        good = [cells[position] for row in self._rows if not isinstance(row, ErrorRow) for cells in _cells(row)]
        return bool(good) and all(cell.replace(".", "", 1).lstrip("-").isdigit() for cell in good if cell)


def _columns(row: Row) -> tuple[str, ...]:
    return row.table_columns if isinstance(row, TableRow) else row.columns


def _cells(row: Row) -> Sequence[tuple[str, ...]]:
    return row.table_cells() if isinstance(row, TableRow) else row.cells()


def _failure(row: ErrorRow, columns: tuple[str, ...]) -> list[Text]:
    """Return the cells of a failure: the reason is in the second column if names are in the first, else beside it."""
    from rich.text import Text

    name, reason = (Text(printable(cell)) for cell in row.cells()[0])
    reason.stylize("red")
    if column := columns.index("image") if "image" in columns else 0:
        return [*[Text()] * column, Text.assemble(name, "  ", reason)]
    return [name, reason][: len(columns)]
