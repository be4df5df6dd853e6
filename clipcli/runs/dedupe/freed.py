"""What removing files frees: the bytes of a file go with the last of its names (hard links), not before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipcli.runs.dedupe.rows import DuplicateRow


@dataclass
class Freed:
    """Takes the rows of a plan."""

    files: int = 0
    """Names that go."""
    bytes: int = 0
    further_names: int = 0
    """Rows of files that an earlier row was of too."""
    _removed: Counter[tuple[int, int]] = field(default_factory=Counter)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _whole: int = 0

    def add(self, row: DuplicateRow) -> None:
        """Take a row."""
        file = row.plan.device, row.plan.inode
        if row.plan.inode and not row.leads:
            self.further_names += file in self._seen
            self._seen.add(file)
        if row.plan.keep:
            return
        self.files += 1
        self._removed[file] += 1
        if self._removed[file] == row.names or not row.plan.inode:
            self.bytes += row.plan.size
            self._whole += 1

    @property
    def held(self) -> int:
        """Files that lose a name and stay under another one, so that nothing of them is freed."""
        return len(self._removed) - self._whole
