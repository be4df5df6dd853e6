"""What one space of the cache holds, as a row of `cache info`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class SpaceInfo:
    """Vectors that can be compared with each other: of one model, precision and variant."""

    space: str
    """`fingerprint/precision`, perhaps with a variant behind it."""
    model: str
    """The model's name, when a run told it."""
    entries: int
    bytes: int
    last_used: int
    """Days since 1970-01-01 (UTC)."""
    columns: ClassVar[tuple[str, ...]] = ("model", "space", "vectors", "bytes", "last used")
    path: ClassVar[None] = None

    @property
    def last_day(self) -> str:
        """The day of the last use, as `2025-01-31`."""
        return (_FIRST_DAY + timedelta(days=self.last_used)).isoformat()

    def record(self) -> Mapping[str, object]:
        """One JSON object."""
        counts = {"vectors": self.entries, "bytes": self.bytes}
        return {"model": self.model, "space": self.space, **counts, "last_used": self.last_day}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """One line of text."""
        return [(self.model, self.space, str(self.entries), str(self.bytes), self.last_day)]
