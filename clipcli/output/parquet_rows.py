"""Write rows as a Parquet file, whose columns are known only after the last row."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, TYPE_CHECKING, Final

from clipcli.core.arrow import pyarrow
from clipcli.output.column_types import ColumnType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipcli.output.rows import Row, RowBlock
    from clipcli.output.targets import Target

_ROWS_IN_A_GROUP: Final = 16_384
_IN_MEMORY: Final = 16 << 20
"""Bytes of rows kept in memory; more go to disk."""


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
