"""Write rows as a Parquet file, whose columns are known only after the last row."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final

from clipcli.core.arrow import pyarrow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipcli.output.row_block import RowBlock
    from clipcli.output.rows import Row
    from clipcli.output.targets import Target

_ROWS_IN_A_GROUP: Final = 16_384
_IN_MEMORY: Final = 16 << 20
"""Bytes of rows kept in memory; more go to disk."""
_INT64: Final = range(-(1 << 63), 1 << 63)
_NAMES: Final = {bool: "bool", int: "int", float: "float", str: "text", list: "list", tuple: "list", dict: "struct"}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass
class ColumnType:
    """The type of the values seen so far: one name, with the element type of a list or the fields of a struct."""

    name: str = "null"
    """null, bool, int, float, text, list, struct, or mixed, which is stored as JSON text."""
    element: ColumnType | None = None
    fields: dict[str, ColumnType] = field(default_factory=dict)

    def add(self, value: object) -> None:
        """Widen the type so that it holds one more value."""
        name = _name_of(value)
        if name == "null" or self.name == "mixed":
            return
        if self.name not in {"null", name}:
            name = "float" if {self.name, name} == {"int", "float"} else "mixed"
        self.name = name
        if isinstance(value, list | tuple) and name == "list":
            self.element = self.element or ColumnType()
            for item in value:
                self.element.add(item)
        elif isinstance(value, dict) and name == "struct":
            for key, item in value.items():
                self.fields.setdefault(key, ColumnType()).add(item)

    def arrow(self, pa: Any) -> Any:
        """Return pyarrow's type; text if there was no value."""
        if self.name == "list":
            return pa.list_((self.element or ColumnType()).arrow(pa))
        if self.name == "struct":
            return pa.struct([(key, kind.arrow(pa)) for key, kind in self.fields.items()])
        return {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}.get(self.name, pa.string())

    def convert(self, value: object) -> object:
        """Return a value converted to the column's type; None stays None."""
        if value is None or _name_of(value) == "null":
            return None
        if self.name == "mixed":
            return _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        if isinstance(value, list) and self.element:
            return [self.element.convert(item) for item in value]
        if isinstance(value, dict):
            return {key: kind.convert(value.get(key)) for key, kind in self.fields.items()}
        return _text(value) if isinstance(value, str) else value


def _name_of(value: object) -> str:
    if value is None or value == {}:  # Parquet has no struct without fields
        return "null"
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return "mixed"
    return next((name for kind, name in _NAMES.items() if isinstance(value, kind)), "mixed")


def _text(text: str) -> str:
    """Return a text as UTF-8, as Parquet requires; undecodable bytes of file names are escaped."""
    return _SURROGATE.sub(lambda match: f"\\x{code:02x}" if (code := ord(match[0]) - 0xDC00) > 0 else "\ufffd", text)


@dataclass
class ParquetRowsWriter:
    """Keeps rows in memory, or in a file if there are many, until the columns are known.

    The last column is `error` (a struct of `stage` and `reason`), which is null in good rows.
    """

    target: Target
    _waiting: IO[bytes] = field(default_factory=lambda: tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
    _columns: ColumnType = field(default_factory=lambda: ColumnType("struct"))

    def write(self, row: Row) -> None:
        """Keep a row."""
        record = row.record()
        self._columns.add(record)
        self._waiting.write(json.dumps(record).encode("ascii") + b"\n")

    def write_block(self, block: RowBlock) -> None:
        """Take many rows, whose types are those of the first."""
        texts = block.json_texts()
        self._columns.add(json.loads(texts[0]))
        self._waiting.write("".join([f"{text}\n" for text in texts]).encode("utf-8", "surrogatepass"))

    def close(self) -> None:
        """Write the file."""
        pa = pyarrow()
        error = self._columns.fields.pop("error", ColumnType())
        error.add({"stage": "", "reason": ""})
        self._columns.fields["error"] = error
        schema = pa.schema(self._columns.arrow(pa))
        with self._waiting, pa.parquet.ParquetWriter(_Sink(self.target), schema, compression="zstd") as writer:
            for group in self._groups():
                writer.write_table(pa.Table.from_pylist(group, schema=schema))

    def _groups(self) -> Iterator[list[Mapping[str, object]]]:
        self._waiting.seek(0)
        while lines := list(islice(self._waiting, _ROWS_IN_A_GROUP)):
            yield [self._converted(line) for line in lines]

    def _converted(self, line: bytes) -> dict[str, object]:
        converted = self._columns.convert(json.loads(line))
        return converted if isinstance(converted, dict) else {}


@dataclass
class _Sink:
    """A target as a file for pyarrow; errors stay those of the target."""

    target: Target
    closed: bool = False

    def write(self, data: bytes) -> int:
        self.target.write_exact(bytes(data))
        return len(data)

    def flush(self) -> None:
        self.target.flush()

    def close(self) -> None:
        self.closed = True
