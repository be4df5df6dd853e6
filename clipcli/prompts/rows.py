"""Shipped sets as rows of output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clipcli.prompts.shipped import ShippedSet


@dataclass(frozen=True)
class SetRow:
    """`{"name", "templates", "use"}`: what a set is called, how many templates it has, what it is for."""

    name: str
    templates: int
    use: str
    path: str | None
    """The file to copy and change; none for what open_clip ships."""
    columns: ClassVar[tuple[str, ...]] = ("name", "templates", "use")

    @classmethod
    def of(cls, chosen: ShippedSet) -> SetRow:
        """The row for a set. Raises PromptsError when it cannot be read."""
        return cls(chosen.name, len(chosen.read()), chosen.purpose, chosen.path)

    def record(self) -> Mapping[str, object]:
        """One JSON object."""
        return {"name": self.name, "templates": self.templates, "use": self.use}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """One line."""
        return [(self.name, str(self.templates), self.use)]
