"""TSV and CSV: text cells, a line each."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.output.rows import ErrorRow
from clipcli.talk import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.output.rows import Row
    from clipcli.output.targets import Target


@dataclass
class TsvWriter:
    """Tab-separated, without a header. Control characters in a cell are spelt as escapes, so a line is always a row.

    A failed input has its name, empty cells, and the reason in one column more than the others.
    """

    target: Target
    _columns: int = 1

    def write(self, row: Row) -> None:
        """Write the row's lines and let them out."""
        if isinstance(row, ErrorRow):
            name, reason = row.cells()[0]
            lines: Sequence[tuple[str, ...]] = [(name, *[""] * (self._columns - 1), reason)]
        else:
            self._columns = len(row.columns)
            lines = row.cells()
        text = "".join("\t".join(printable(cell) for cell in cells) + "\n" for cells in lines)
        self.target.write(text.encode("utf-8", "backslashreplace"))
        self.target.flush()

    def close(self) -> None:
        """Nothing is held back."""


@dataclass
class CsvWriter:
    """Comma-separated as in RFC 4180, with a header and a last column `error`."""

    target: Target
    _columns: tuple[str, ...] = ()
    _waiting: list[ErrorRow] = field(default_factory=list)
    """Failures before the first good row, whose columns are not known yet."""

    def write(self, row: Row) -> None:
        """Write the row's lines; the header comes before the first good one."""
        if isinstance(row, ErrorRow):
            if self._columns:
                self._write_error(row)
            else:
                self._waiting.append(row)
            return
        if not self._columns:
            self._write_header(row.columns)
        for cells in row.cells():
            self._write_line((*cells, ""))
        self.target.flush()

    def close(self) -> None:
        """When nothing was good, a header and the errors."""
        if not self._columns:
            self._write_header(("image",))

    def _write_header(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self._write_line((*columns, "error"))
        for row in self._waiting:
            self._write_error(row)

    def _write_error(self, row: ErrorRow) -> None:
        name, reason = row.cells()[0]
        self._write_line((name, *[""] * (len(self._columns) - 1), reason))

    def _write_line(self, cells: Sequence[str]) -> None:
        buffer = io.StringIO()
        safe = [printable(cell) for cell in cells] if self.target.is_terminal else cells
        csv.writer(buffer, lineterminator="\n").writerow(safe)
        self.target.write(buffer.getvalue().encode("utf-8", "surrogateescape"))
