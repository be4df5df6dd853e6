"""The types of the columns of a table, found from its values, and conversion to and from JSON and Arrow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable  # noqa: TC003
from dataclasses import dataclass, field
from datetime import date, datetime, time, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from clipcli.output.rows import as_json

_INT64: Final = range(-(1 << 63), 1 << 63)
_NAMES: Final = {
    bool: "bool", int: "int", float: "float", str: "text", list: "list", tuple: "list", dict: "struct",
    datetime: "timestamp", date: "date", time: "time", Decimal: "decimal",
}  # fmt: skip
_SIMPLE: Final = frozenset(
    ("null", "bool", "int", "float", "text", "mixed", "timestamp", "timestamp utc", "date", "time")
)
_READERS: Final[dict[str, Callable[[str], object]]] = {
    "float": float, "date": date.fromisoformat, "time": time.fromisoformat, "decimal": Decimal,
    "timestamp": datetime.fromisoformat, "timestamp utc": datetime.fromisoformat,
}  # fmt: skip
_DECIMAL_DIGITS: Final = 76
"""Most digits of a decimal number in Arrow."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass
class ColumnType:
    """The type of the values seen so far: one name, with the element type of a list or the fields of a struct."""

    name: str = "null"
    """null, bool, int, float, text, date, time, timestamp (with or without utc), decimal, list, struct, or mixed, which
    is stored as JSON text."""
    element: ColumnType | None = None
    fields: dict[str, ColumnType] = field(default_factory=dict)
    whole: int = 0
    """Of decimals: the most digits before the point."""
    scale: int = 0
    """Of decimals: the most digits behind the point."""

    def add(self, value: object) -> None:
        """Widen the type so that it holds one more value."""
        name = _name_of(value)
        if name == "null" or self.name == "mixed":
            return
        self._widen(name)
        if isinstance(value, list | tuple) and self.name == "list":
            self.element = self.element or ColumnType()
            for item in value:
                self.element.add(item)
        elif isinstance(value, dict) and self.name == "struct":
            for key, item in value.items():
                self.fields.setdefault(key, ColumnType()).add(item)
        elif isinstance(value, Decimal) and self.name == "decimal":
            self._add_digits(*_digits_of(value))

    def merge(self, other: ColumnType) -> None:
        """Widen the type so that it holds all values of another one."""
        if other.name == "null" or self.name == "mixed":
            return
        self._widen(other.name)
        if self.name == "mixed":
            return
        if other.element is not None:
            self.element = self.element or ColumnType()
            self.element.merge(other.element)
        for key, kind in other.fields.items():
            self.fields.setdefault(key, ColumnType()).merge(kind)
        self._add_digits(other.whole, other.scale)

    def _widen(self, name: str) -> None:
        if self.name not in {"null", name}:
            name = "float" if {self.name, name} == {"int", "float"} else "mixed"
        self.name = name
        if name == "mixed":
            self.element, self.fields, self.whole, self.scale = None, {}, 0, 0

    def _add_digits(self, whole: int, scale: int) -> None:
        self.whole, self.scale = max(self.whole, whole), max(self.scale, scale)
        if self.whole + self.scale > _DECIMAL_DIGITS:
            self.name, self.whole, self.scale = "mixed", 0, 0

    def arrow(self, pa: Any) -> Any:
        """Return pyarrow's type; text if there was no value."""
        if self.name == "list":
            return pa.list_((self.element or ColumnType()).arrow(pa))
        if self.name == "struct":
            return pa.struct([(key, kind.arrow(pa)) for key, kind in self.fields.items()])
        if self.name == "decimal":
            digits = max(self.whole + self.scale, 1)
            return (pa.decimal128 if digits <= 38 else pa.decimal256)(digits, self.scale)  # noqa: PLR2004 - of Arrow
        return {
            "bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "date": pa.date32(), "time": pa.time64("us"),
            "timestamp": pa.timestamp("us"), "timestamp utc": pa.timestamp("us", "UTC"),
        }.get(self.name, pa.string())  # fmt: skip

    def convert(self, value: object) -> object:
        """Return a value converted to the column's type; None stays None."""
        if value is None or _name_of(value) == "null":
            return None
        if self.name in {"mixed", "null"}:
            value = value if isinstance(value, str) else json.dumps(as_json(value), ensure_ascii=False)
        if isinstance(value, list | tuple) and self.element:
            return [self.element.convert(item) for item in value]
        if isinstance(value, dict):
            return {key: kind.convert(value.get(key)) for key, kind in self.fields.items()}
        if isinstance(value, datetime):  # of pandas too, which counts nanoseconds
            return datetime.fromisoformat(value.isoformat(timespec="microseconds"))
        return _text(value) if isinstance(value, str) else value

    def restore(self, plain: object) -> object:
        """Return the value of this type that `plain` wrote.

        Raises:
            ValueError: it is no such value.
        """
        if isinstance(plain, list) and self.element:
            return [self.element.restore(item) for item in plain]
        if isinstance(plain, dict):
            return {key: self.fields[key].restore(item) if key in self.fields else item for key, item in plain.items()}
        if not isinstance(plain, str) or self.name in {"text", "mixed", "null"}:
            return float(plain) if self.name == "float" and isinstance(plain, int) else plain
        try:
            return _READERS[self.name](plain)
        except (KeyError, InvalidOperation) as error:
            raise ValueError(f"not a {self.name}: {plain[:40]!r}") from error

    def restore_cell(self, cell: str) -> object:
        """Return the value of a cell, where lists and numbers are JSON and nothing is no value. Raises ValueError."""
        if self.name in {"text", "mixed", "null"}:
            return cell
        if not cell:
            return None
        return self.restore(json.loads(cell) if self.name in {"bool", "int", "float", "list", "struct"} else cell)

    def describe(self) -> str:
        """Return the type as a text: its name, or JSON of the name and what it consists of."""
        parts = _parts_of(self)
        return parts if isinstance(parts, str) else json.dumps(parts)


def _parts_of(kind: ColumnType) -> str | list[object]:
    if kind.name == "list":
        return ["list", _parts_of(kind.element or ColumnType())]
    if kind.name == "struct":
        return ["struct", [[key, _parts_of(inner)] for key, inner in kind.fields.items()]]
    return ["decimal", kind.whole, kind.scale] if kind.name == "decimal" else kind.name


def parse_type(text: str) -> ColumnType:
    """Return the type that `describe` wrote. Raises ValueError."""
    return ColumnType(text) if text in _SIMPLE else _parsed(json.loads(text))


def _parsed(parts: object) -> ColumnType:
    match parts:
        case str() if parts in _SIMPLE:
            return ColumnType(parts)
        case ["list", element]:
            return ColumnType("list", _parsed(element))
        case ["struct", list(fields)]:
            return ColumnType("struct", fields={str(key): _parsed(kind) for key, kind in fields})
        case ["decimal", int(whole), int(scale)]:
            return ColumnType("decimal", whole=whole, scale=scale)
    raise ValueError(f"not a type of a column: {str(parts)[:40]}")


def type_of_arrow(kind: Any, types: Any) -> ColumnType | None:
    """Return the type of a column of Arrow; None for bytes and others that are not carried.

    Args:
        kind: the type.
        types: `pyarrow.types`.
    """
    if types.is_dictionary(kind):
        return type_of_arrow(kind.value_type, types)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        element = type_of_arrow(kind.value_type, types)
        return None if element is None else ColumnType("list", element)
    if types.is_struct(kind):
        fields = {part.name: type_of_arrow(part.type, types) for part in kind}
        known = {name: inner for name, inner in fields.items() if inner is not None}
        return ColumnType("struct", fields=known) if known and len(known) == len(fields) else None
    return _simple_of_arrow(kind, types)


def _simple_of_arrow(kind: Any, types: Any) -> ColumnType | None:
    if types.is_decimal(kind):
        return ColumnType("decimal", whole=max(kind.precision - kind.scale, 0), scale=max(kind.scale, 0))
    if types.is_timestamp(kind):
        return ColumnType("timestamp" if kind.tz is None else "timestamp utc")
    for name, tests in _ARROW:
        if any(getattr(types, f"is_{test}")(kind) for test in tests):
            return ColumnType(name)
    return None


_ARROW: Final = (
    ("null", ("null",)), ("bool", ("boolean",)), ("int", ("integer",)), ("float", ("floating",)),
    ("text", ("string", "large_string")), ("date", ("date",)), ("time", ("time",)),
)  # fmt: skip


def plain(value: object) -> object:
    """Return a value for JSON from which `ColumnType.restore` makes it again; NaN and infinity become texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        aware = value if value.tzinfo is None else value.astimezone(timezone.utc)
        return aware.isoformat(timespec="microseconds")
    return as_json(value)


def _name_of(value: object) -> str:
    if value is None or value == {}:  # Parquet has no struct without fields
        return "null"
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return "mixed"
    if isinstance(value, datetime) and value.tzinfo is not None:
        return "timestamp utc"
    if isinstance(value, Decimal) and not value.is_finite():
        return "mixed"
    return next((name for kind, name in _NAMES.items() if isinstance(value, kind)), "mixed")


def _digits_of(value: Decimal) -> tuple[int, int]:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - it is finite
    scale = max(-exponent, 0)
    return max(len(digits) + exponent, 0), scale


def _text(text: str) -> str:
    """Return a text as UTF-8, as Parquet requires; undecodable bytes of file names are escaped."""
    return _SURROGATE.sub(lambda match: f"\\x{code:02x}" if (code := ord(match[0]) - 0xDC00) > 0 else "\ufffd", text)
