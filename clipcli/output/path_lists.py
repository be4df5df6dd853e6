"""Bare paths for xargs and friends."""

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
    """A row that may be a copy of a file that stays."""

    image: str

    @property
    def copy_of(self) -> str | None:
        """Return the file that stays for it; None for files that stay themselves."""
        ...


@dataclass
class GroupsWriter:
    """Write each group as the file that stays, then those that may go, then an empty line (the form of `fdupes`)."""

    target: Target
    null: bool
    _keeper: str | None = None

    def write(self, row: Row) -> None:
        """Write the row's image, after a blank line and the file that stays when it begins another group."""
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
        shown = printable(name) if self.target.is_terminal and not self.null else name
        write = self.target.write_exact if self.null else self.target.write
        write(os.fsencode(shown) + (b"\0" if self.null else b"\n"))

    def close(self) -> None:
        """Nothing is held back."""


@dataclass
class PathsWriter:
    """A path a line, or NUL-terminated; the very bytes of the file name, unless a terminal would read them."""

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
        """Nothing is held back."""
