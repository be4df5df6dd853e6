"""The rows, and blocks of rows, that runs pass to writers; values of rows as JSON and as cells."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.errors import ImageError

JsonObject: TypeAlias = "Mapping[str, object]"
_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|#(?=#[\\w.-]*\\[)")
"""Characters that JSON allows but that are unsafe for a terminal, an encoder or a CI server: C1 controls, line
separators, bidi overrides, lone surrogates, the beginning of a workflow command."""
_PLAIN = re.compile(r"[ !$-\[\]-~\n]*")
"""Characters that JSON has as they are; without those that begin a log command of a build's server."""


def as_json(value: object) -> object:
    """Return a value of a table for JSON: times as ISO 8601, NaN and infinity as null, others as text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def dumps(record: object, *, indent: int | None = None) -> str:
    """Return a JSON text with readable Unicode, but without characters that control a terminal."""
    text = json.dumps(record, ensure_ascii=False, indent=indent, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_strings(texts: Sequence[str]) -> list[str]:
    """Return each text as JSON has it; quick where all of them are plain."""
    joined = "\n".join(texts)
    if _PLAIN.fullmatch(joined) and joined.count("\n") == max(0, len(texts) - 1):
        return [f'"{text}"' for text in texts]
    return [dumps(text) for text in texts]


def cell_of(value: object) -> str:
    """Return a value of a table as a cell: texts unchanged, null as empty, others as JSON."""
    plain = as_json(value)
    return "" if plain is None else plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


@dataclass(frozen=True)
class CarriedRow:
    """A row followed by columns of the input table."""

    row: Row
    names: tuple[str, ...]
    """Names of the added columns, the same for all rows of the run."""
    fields: Mapping[str, object]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the row's columns, then those of the table."""
        return (*self.row.columns, *self.names)

    @property
    def path(self) -> str | None:
        """Return the row's path."""
        return self.row.path

    def record(self) -> JsonObject:
        """Return the row's keys, then those of the table."""
        return {**self.row.record(), **self.fields}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return each line with the columns of the table."""
        carried = tuple(cell_of(self.fields.get(name)) for name in self.names)
        return [(*line, *carried) for line in self.row.cells()]


class CarriedColumns:
    """Appends columns of input tables to the rows of a run."""

    def __init__(self, keep: Sequence[str], own_names: Sequence[str]) -> None:
        """Set the names of the columns.

        Args:
            keep: names of the columns; `all` takes those of the first input that has any.
            own_names: names of the rows' own columns; a table's column of such a name becomes `table_NAME`.
        """
        self._own = frozenset(own_names)
        self._names = None if "all" in keep else tuple(map(self._name, keep))

    @property
    def any(self) -> bool:
        """Return whether columns are kept."""
        return self._names != ()

    def row(self, row: Row, fields: Mapping[str, object]) -> Row:
        """Return a row with the fields of its input."""
        renamed = self.renamed(fields)
        return CarriedRow(row, self._names, renamed) if self._names else row

    def renamed(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return the fields of an input for JSON, under their names in the output."""
        renamed = {self._name(name): as_json(value) for name, value in fields.items()}
        if self._names is None and renamed:
            self._names = tuple(renamed)
        return renamed

    def _name(self, name: str) -> str:
        return f"table_{name}" if name in self._own else name


class Row(Protocol):
    """One result, with its columns and its JSON, independent of formats."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the cells, the same for all good rows of a run."""
        ...

    @property
    def path(self) -> str | None:
        """Return the row's path for a list of bare paths; None leaves it out."""
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
        """Write a row; streaming formats flush it."""
        ...

    def close(self) -> None:
        """Write rows that were held back, and finish the format."""
        ...


@dataclass(frozen=True)
class ErrorRow:
    """The row of an input that failed."""

    image: str
    stage: str
    reason: str
    kind: Literal["image", "query"] = "image"
    """The type of the input, which is its key in JSON."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """Further columns of the input."""
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
        """Return `{"image": …, "error": {"stage": …, "reason": …}}`; the key of a query is `query`."""
        return {self.kind: self.image, **self.fields, "error": {"stage": self.stage, "reason": self.reason}}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return the name and the reason."""
        return [(self.image, f"{self.stage}: {self.reason}")]

    def cells_under(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return cells for the columns of good rows, with the name in its column, and one more cell for the reason."""
        name, reason = self.cells()[0]
        cells = [cell_of(self.fields.get(column)) for column in columns]
        cells[columns.index(self.kind) if self.kind in columns else 0] = name
        return (*cells, reason)


class RowBlock(ABC):
    """Rows of the same columns and the same types, none of them an error."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Return the names of the cells."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one, for formats that have no other use for them."""

    @abstractmethod
    def json_texts(self) -> Sequence[str]:
        """Return each row's JSON object, as `dumps` writes it."""

    @abstractmethod
    def cell_columns(self) -> Sequence[Sequence[str]]:
        """Return the cells column by column."""


class BlockWriter:
    """Hands rows to a writer one by one, and blocks as blocks where it takes them."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._write = writer.write
        self._write_block = getattr(writer, "write_block", None)

    def write(self, row: Row | RowBlock) -> None:
        """Take a row, or many."""
        if not isinstance(row, RowBlock):
            self._write(row)
        elif self._write_block is not None:
            self._write_block(row)
        else:
            for each in row.rows():
                self._write(each)

    def close(self) -> None:
        """Finish the format."""
        self._writer.close()
