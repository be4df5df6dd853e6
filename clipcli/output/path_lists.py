"""Write bare paths, for xargs and the like."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from clipcli.core.console import printable
from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from clipcli.output.rows import Row
    from clipcli.output.targets import Target


class GroupedRow(Protocol):
    """A row that may be a copy of a file to keep."""

    image: str

    @property
    def copy_of(self) -> str | None:
        """Return the file to keep in its place; None for a file to keep."""
        ...


@dataclass
class GroupsWriter:
    """Writes each group as the file to keep, the files to remove, and an empty line (the form of `fdupes`)."""

    target: Target
    null: bool
    _keeper: str | None = None

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


@dataclass
class PathsWriter:
    """Writes one path per line, or NUL-terminated; with the bytes of the file name, except on a terminal."""

    target: Target
    null: bool

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
