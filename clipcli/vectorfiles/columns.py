"""Columns of input tables that are carried with vectors: their names, their types, and their values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from clipcli.output.column_types import ColumnType, parse_type, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OWN_COLUMNS: Final = frozenset((
    "image", "text", "position", "embedding", "error", "model", "fingerprint",
    "precision", "unit_length", "prompts", "decoding", "pixels",
))  # fmt: skip
"""Names that files of vectors use themselves."""
_NUMBER: Final = re.compile(r"v\d+")
"""The name of a number's column in CSV."""


@dataclass(frozen=True)
class CarriedColumn:
    """A carried column."""

    name: str
    type: str = ""
    """As `ColumnType.describe` writes it; empty if it is unknown."""


def is_own(name: str) -> bool:
    """Return whether files of vectors use a name themselves, in some format."""
    return name in OWN_COLUMNS or _NUMBER.fullmatch(name) is not None


def output_name(name: str) -> str:
    """Return the name of a table's column in files of vectors: `table_NAME` if the name is taken."""
    return f"table_{name}" if is_own(name) else name


def column_type(column: CarriedColumn) -> ColumnType:
    """Return the type of a column. Raises ValueError."""
    return parse_type(column.type) if column.type else ColumnType()


def plain_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a row for JSON, from which `Restorer` makes them again."""
    return {name: plain(value) for name, value in fields.items()}


class Restorer:
    """Makes values of the types of a file's columns."""

    def __init__(self, columns: Sequence[CarriedColumn]) -> None:
        self._types = {column.name: column_type(column) for column in columns}

    def fields(self, record: Mapping[str, object]) -> dict[str, object]:
        """Return a row of JSON values with the right types; columns it lacks are None. Raises ValueError."""
        return {name: kind.restore(record.get(name)) for name, kind in self._types.items()}

    def cells(self, record: Mapping[str, str]) -> dict[str, object]:
        """Return a row of CSV cells with the right types. Raises ValueError."""
        return {name: kind.restore_cell(record.get(name, "")) for name, kind in self._types.items()}

    def converted(self, name: str, rows: Iterable[Mapping[str, object]]) -> list[object]:
        """Return a column for Arrow, where every value has the type of the column."""
        kind = self._types[name]
        return [kind.convert(row.get(name)) for row in rows]


class ColumnTypes:
    """Finds the types that hold all values of some columns."""

    def __init__(self, columns: Iterable[CarriedColumn] = ()) -> None:
        self._types: dict[str, ColumnType] = {}
        self.merge(columns)

    def add(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Widen the types so that they hold some rows."""
        for row in rows:
            for name, kind in self._types.items():
                kind.add(row.get(name))

    def merge(self, columns: Iterable[CarriedColumn]) -> None:
        """Add columns, and widen the types so that they hold theirs."""
        for column in columns:
            self._types.setdefault(column.name, ColumnType()).merge(column_type(column))

    @property
    def columns(self) -> tuple[CarriedColumn, ...]:
        """Return the columns with their types."""
        return tuple(CarriedColumn(name, kind.describe()) for name, kind in self._types.items())
