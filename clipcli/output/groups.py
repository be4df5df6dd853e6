"""Groups as fdupes writes them: a path a line, a blank line after each group."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.talk import printable

if TYPE_CHECKING:
    from clipcli.output.rows import Row
    from clipcli.output.targets import Target


@dataclass
class GroupsWriter:
    """The file to keep comes first in each group. Rows without a group, such as failures, are left out."""

    target: Target
    null: bool
    _group: str | None = None

    def write(self, row: Row) -> None:
        """Write the row's image, after a blank line when it begins another group."""
        if "group" not in row.columns:
            return
        for cells in row.cells():
            if self._group is not None and cells[0] != self._group:
                self.target.write(b"\n")
            self._group = cells[0]
            name = cells[row.columns.index("image")]
            shown = printable(name) if self.target.is_terminal and not self.null else name
            self.target.write(os.fsencode(shown) + (b"\0" if self.null else b"\n"))
        self.target.flush()

    def close(self) -> None:
        """Nothing is held back."""
