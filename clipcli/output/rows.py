"""What passes from tasks to writers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clipcli.errors import ImageError

JsonObject: TypeAlias = "Mapping[str, object]"


class Row(Protocol):
    """One result. It knows its columns and its JSON, and nothing of formats."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the cells, the same for all good rows of a run."""
        ...

    @property
    def path(self) -> str | None:
        """The file this row stands for in a list of bare paths; None leaves it out."""
        ...

    def record(self) -> JsonObject:
        """The row as one JSON object."""
        ...

    def cells(self) -> Sequence[tuple[str, ...]]:
        """The row as one or more lines of text cells."""
        ...


class Writer(Protocol):
    """One format on one target."""

    def write(self, row: Row) -> None:
        """Take a row; streaming formats let it out at once."""
        ...

    def close(self) -> None:
        """Let out what is held back and finish the format."""
        ...


@dataclass(frozen=True)
class ErrorRow:
    """An input that failed: a row too, so that nothing vanishes."""

    image: str
    stage: str
    reason: str
    kind: Literal["image", "query"] = "image"
    """What the input is; its key in JSON."""
    columns: ClassVar[tuple[str, ...]] = ("image", "error")
    path: ClassVar[None] = None

    @classmethod
    def of(cls, name: str, error: ImageError, kind: Literal["image", "query"] = "image") -> ErrorRow:
        """The row for an input's error."""
        return cls(redact(name), error.stage, redact(error.reason), kind)

    def record(self) -> JsonObject:
        """`{"image": …, "error": {"stage": …, "reason": …}}`; words that were looked for stand under `query`."""
        return {self.kind: self.image, "error": {"stage": self.stage, "reason": self.reason}}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """The name and the reason, below the columns of their own."""
        return [(self.image, f"{self.stage}: {self.reason}")]

    def cells_under(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The name among the names of good rows, which have these columns, and the reason in one column more."""
        name, reason = self.cells()[0]
        place = columns.index(self.kind) if self.kind in columns else 0
        return (*[""] * place, name, *[""] * (len(columns) - place - 1), reason)
