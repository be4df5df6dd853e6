"""What passes from tasks to writers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.errors import ImageError

JsonObject: TypeAlias = "Mapping[str, object]"


def as_json(value: object) -> object:
    """Return a value of a table as JSON has it: times as ISO 8601, NaN and infinity as null, the rest as text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def cell_of(value: object) -> str:
    """Return a value of a table as a cell: texts as they are, nothing for null, the rest as JSON."""
    plain = as_json(value)
    return "" if plain is None else plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


@dataclass(frozen=True)
class CarriedRow:
    """A row with columns of the table that its input is a row of, behind its own."""

    row: Row
    names: tuple[str, ...]
    """Of all rows of the run, so that they have the same columns."""
    fields: Mapping[str, object]

    @property
    def columns(self) -> tuple[str, ...]:
        """Its own, then those of the table."""
        return (*self.row.columns, *self.names)

    @property
    def path(self) -> str | None:
        """That of the row."""
        return self.row.path

    def record(self) -> JsonObject:
        """Its own keys, then those of the table."""
        return {**self.row.record(), **self.fields}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return each line with the columns of the table."""
        carried = tuple(cell_of(self.fields.get(name)) for name in self.names)
        return [(*line, *carried) for line in self.row.cells()]


class CarriedColumns:
    """The columns of tables that go through a run, to stand behind each row's own."""

    def __init__(self, keep: Sequence[str], own: Sequence[str]) -> None:
        """Begin.

        Args:
            keep: their names, where they are known beforehand; `all` takes those of the first input that has any.
            own: the names that rows have themselves; a column of such a name is called `table_NAME`.
        """
        self._own = frozenset(own)
        self._names = None if "all" in keep else tuple(map(self._name, keep))

    def row(self, row: Row, fields: Mapping[str, object]) -> Row:
        """Return a row with the fields of its input."""
        renamed = self.renamed(fields)
        return CarriedRow(row, self._names, renamed) if self._names else row

    def renamed(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return the fields of an input under the names that the output has, as JSON."""
        renamed = {self._name(name): as_json(value) for name, value in fields.items()}
        if self._names is None and renamed:
            self._names = tuple(renamed)
        return renamed

    def _name(self, name: str) -> str:
        return f"table_{name}" if name in self._own else name


class Row(Protocol):
    """One result. It knows its columns and its JSON, and nothing of formats."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the cells, the same for all good rows of a run."""
        ...

    @property
    def path(self) -> str | None:
        """Return the file this row stands for in a list of bare paths; None leaves it out."""
        ...

    def record(self) -> JsonObject:
        """Return the row as one JSON object."""
        ...

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return the row as one or more lines of text cells."""
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
    fields: Mapping[str, object] = field(default_factory=dict)
    """What else is known of the input, by column."""
    columns: ClassVar[tuple[str, ...]] = ("image", "error")
    path: ClassVar[None] = None

    @classmethod
    def of(
        cls, name: str, error: ImageError, kind: Literal["image", "query"] = "image",
        fields: Mapping[str, object] | None = None,
    ) -> ErrorRow:  # fmt: skip
        """Return the row for an input's error."""
        return cls(redact(name), error.stage, redact(error.reason), kind, fields or {})

    def record(self) -> JsonObject:
        """`{"image": …, "error": {"stage": …, "reason": …}}`; words that were looked for stand under `query`."""
        return {self.kind: self.image, **self.fields, "error": {"stage": self.stage, "reason": self.reason}}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return the name and the reason, below the columns of their own."""
        return [(self.image, f"{self.stage}: {self.reason}")]

    def cells_under(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the name among the names of good rows, which have these columns, and the reason in one column more."""
        name, reason = self.cells()[0]
        under = [cell_of(self.fields.get(column)) for column in columns]
        under[columns.index(self.kind) if self.kind in columns else 0] = name
        return (*under, reason)
