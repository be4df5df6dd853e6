"""Bare paths for xargs and friends."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.redaction import redact
from clipcli.talk import printable

if TYPE_CHECKING:
    from clipcli.output.rows import Row
    from clipcli.output.targets import Target


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
