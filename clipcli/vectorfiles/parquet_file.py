"""The Parquet format: `image` or `text`, `position` (in shards), carried columns, `embedding` (a list of fixed size).

Failures go to a second file: with a null among the vectors, other readers could not read the column as a matrix.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clipcli.core.arrow import check_sizes, pyarrow
from clipcli.core.decode import parse_json
from clipcli.core.files import own_error
from clipcli.core.redaction import redact
from clipcli.errors import ImageError, VectorsError
from clipcli.inputs.sources.fetch import open_random
from clipcli.inputs.sources.filesystems import attempt, is_url
from clipcli.output.column_types import type_of_arrow
from clipcli.output.rows import dumps
from clipcli.vectorfiles.columns import CarriedColumn, Restorer, column_type
from clipcli.vectorfiles.info import KEY, VectorRows, from_json, join_rows
from clipcli.vectorfiles.vector_file import VectorFile, read_failures
from clipcli.vectorfiles.writer import VectorsWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.vectorfiles.info import Failure, Positions

_UNDECODABLE = "clipcli.names"
_ROWS_A_GROUP = 8192
_OPEN_GROUPS = 16
_OWN = {"position", "embedding"}


class ParquetFile(VectorFile):
    """A local or remote Parquet file, read one row group at a time."""

    def __init__(self, path: Path | str) -> None:
        arrow = pyarrow()
        self._location = str(path)
        source = redact(self._location)
        try:
            with own_error(VectorsError, source):
                self._file = arrow.parquet.ParquetFile(
                    open_random(self._location), memory_map=not is_url(self._location)
                )
                self._metadata = self._file.schema_arrow.metadata or {}
                footer = self._file.metadata.metadata or {}
                check_sizes(self._file.metadata)
                record = parse_json(self._metadata.get(KEY.encode(), b"null"))
                self._raw_names = _raw_names(footer.get(_UNDECODABLE.encode(), b"{}"))
        except ImageError as error:
            raise VectorsError(f"{source}: {error.reason}") from error
        info = from_json(record, source)
        dim = self._dimension(source, info.kind)
        info = replace(info, columns=_carried(self._file.schema_arrow, info.kind))
        super().__init__(source if is_url(self._location) else Path(path), info, dim)

    def _dimension(self, path: str, kind: str) -> int:
        schema = self._file.schema_arrow
        for name in (kind, "embedding"):
            if name not in schema.names:
                raise VectorsError(f"{path}: has no column {name}", hint="make it with clipcli embed")
        column = schema.field("embedding").type
        types = pyarrow().types
        if not types.is_fixed_size_list(column) or not types.is_floating(column.value_type):
            raise VectorsError(f"{path}: the column embedding holds {column}, not a fixed number of floats")
        return int(column.list_size)

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the column `image` or `text`."""
        with own_error(VectorsError, str(self.path)):
            return self._names(self._file.read(columns=[self.kind]).column(0).to_pylist(), 0)

    @property
    def failures(self) -> Sequence[Failure]:
        """Return the failures from the second file."""
        return read_failures(self._location if is_url(self._location) else Path(self._location))

    @property
    def group_rows(self) -> tuple[int, ...]:
        """Return the number of rows of each row group."""
        metadata = self._file.metadata
        return tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))

    def group_names(self, group: int) -> Sequence[str]:
        """Return the names of a row group."""
        column = self._group(group, [self.kind]).column(0)
        return self._names(column.to_pylist(), sum(self.group_rows[:group]))

    @cached_property
    def positions(self) -> Positions | None:
        """Return the column `position`, or None."""
        if "position" not in self._file.schema_arrow.names:
            return None
        with own_error(VectorsError, str(self.path)):
            return np.asarray(self._file.read(columns=["position"]).column(0).to_numpy(), np.int64)

    @property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the other columns of the table, looked up per row group."""
        return _Fields(self) if self.info.columns else ()

    def group_fields(self, group: int) -> Sequence[Mapping[str, object]]:
        """Return the carried columns of a row group."""
        names = [column.name for column in self.info.columns]
        with own_error(VectorsError, str(self.path)):
            return cast("list[Mapping[str, object]]", self._group(group, names).to_pylist())

    def field_blocks(self, columns: Sequence[str], rows: int = 8192) -> Iterator[Sequence[Mapping[str, object]]]:
        """Yield these columns of all rows; only their row groups are in memory."""
        carried = {column.name for column in self.info.columns}
        own = [name for name in columns if name in carried]
        for batch in self._batches(rows, own) if own else ():
            with own_error(VectorsError, str(self.path)):
                yield batch.to_pylist()

    def read(self, rows: int, *, fields: bool = False) -> Iterator[VectorRows]:
        """Yield blocks of rows; only their row groups are in memory."""
        columns = [name for name in (self.kind, "position", "embedding") if name in self._file.schema_arrow.names]
        carried = [column.name for column in self.info.columns] if fields else []
        columns += carried
        start = 0
        batches = self._batches(rows, columns)
        while True:
            with own_error(VectorsError, str(self.path)):
                batch = next(batches, None)
                block = None if batch is None else self._rows(batch, start, carried)
            if block is None:
                return
            yield block
            start += len(block.names)

    def _batches(self, rows: int, columns: list[str]) -> Iterator[Any]:
        if not is_url(self._location):
            return cast("Iterator[Any]", self._file.iter_batches(rows, columns=columns))
        groups = range(len(self.group_rows))
        return (batch for group in groups for batch in self._group(group, columns).to_batches(max_chunksize=rows))

    def _group(self, group: int, columns: list[str]) -> Any:
        """Return the given columns of a row group; retry temporary faults of remote files."""

        def read_group() -> Any:
            return self._file.read_row_group(group, columns=columns)

        try:
            with own_error(VectorsError, str(self.path)):
                return attempt(read_group) if is_url(self._location) else read_group()
        except ImageError as error:
            raise VectorsError(f"{self.path}: {error.reason}") from error

    def _rows(self, batch: Any, start: int, carried: list[str]) -> VectorRows:
        column = batch.column("embedding")
        if column.null_count:
            raise VectorsError(f"{self.path}: a row after {start} has no embedding")
        vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.dim).astype(np.float32, copy=False)
        positions = batch.column("position").to_numpy() if "position" in batch.schema.names else None
        fields = batch.select(carried).to_pylist() if carried else None
        return VectorRows(self._names(batch.column(self.kind).to_pylist(), start), vectors, positions, fields)

    def _names(self, stored_names: list[str], start: int) -> list[str]:
        """Return the names as in the file system; Parquet cannot hold those that are not UTF-8."""
        if not self._raw_names:
            return stored_names
        return [
            os.fsdecode(self._raw_names[row]) if row in self._raw_names else name
            for row, name in enumerate(stored_names, start)
        ]


class _Fields(Sequence[Mapping[str, object]]):
    """The carried columns of a file, loaded per row group."""

    def __init__(self, file: ParquetFile) -> None:
        self._file = file
        self._starts = [0, *accumulate(file.group_rows)]
        self._recent = lru_cache(maxsize=_OPEN_GROUPS)(file.group_fields)

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: Any) -> Any:  # Sequence's overloads
        if isinstance(row, slice):
            return [self[index] for index in range(len(self))[row]]
        row = range(len(self))[row]
        group = bisect_right(self._starts, row) - 1
        return self._recent(group)[row - self._starts[group]]


def _carried(schema: Any, kind: str) -> tuple[CarriedColumn, ...]:
    """Return the columns that are not of the vectors: those that `embed` carried, and those that were joined later."""
    types = pyarrow().types
    others = {field.name: type_of_arrow(field.type, types) for field in schema if field.name not in _OWN | {kind}}
    return tuple(CarriedColumn(name, known.describe()) for name, known in others.items() if known is not None)


def _raw_names(text: bytes) -> dict[int, bytes]:
    """Return row → bytes of each name that is not UTF-8. Raises ValueError, TypeError, AttributeError."""
    return {int(row): bytes.fromhex(name) for row, name in parse_json(text).items()}


class ParquetWriter(VectorsWriter):
    """Writes row groups of a fixed number of rows."""

    def start(self) -> None:
        """Write the schema."""
        self._arrow = arrow = pyarrow()
        vector = arrow.list_(arrow.from_numpy_dtype(self.dtype.newbyteorder("=")), self.plan.dim)
        position = [arrow.field("position", arrow.int64(), nullable=False)] if self.plan.info.shard is not None else []
        name = arrow.field(self.plan.info.kind, arrow.string(), nullable=False)
        columns = self.plan.info.columns
        carried = [arrow.field(column.name, column_type(column).arrow(arrow)) for column in columns]
        self._restorer = Restorer(columns)
        fields = [name, *position, *carried, arrow.field("embedding", vector, nullable=False)]
        self._schema = arrow.schema(fields, metadata={KEY: dumps(self.description())})
        compression = {field.name: "zstd" for field in (name, *carried)}  # the numbers do not compress
        file = arrow.parquet.ParquetWriter(
            self.target.stream, self._schema, compression=compression, use_dictionary=False
        )
        self._file = self.stack.enter_context(file)
        self._waiting: list[VectorRows] = []
        self._written = 0
        self._undecodable: dict[str, str] = {}

    def write(self, rows: VectorRows) -> None:
        """Add rows, and write each row group that is full."""
        self._waiting.append(rows)
        while sum(len(block.names) for block in self._waiting) >= _ROWS_A_GROUP:
            rows_so_far = join_rows(self._waiting)
            self._write_group(rows_so_far.part(0, _ROWS_A_GROUP))
            self._waiting = [rows_so_far.part(_ROWS_A_GROUP, len(rows_so_far.names))]

    def finish(self) -> None:
        """Write the last group and the footer."""
        if self._waiting:
            self._write_group(join_rows(self._waiting))
        if self._undecodable:
            self._file.add_key_value_metadata({_UNDECODABLE: json.dumps(self._undecodable)})
        self._file.close()

    def _write_group(self, rows: VectorRows) -> None:
        arrow = self._arrow
        names = arrow.array(
            [self._text(row, name) for row, name in enumerate(rows.names, self._written)], arrow.string()
        )
        flat = arrow.array(self.stored(rows).reshape(-1).astype(self.dtype.newbyteorder("=")))
        positions = [] if rows.positions is None else [arrow.array(rows.positions, arrow.int64())]
        vectors = arrow.FixedSizeListArray.from_arrays(flat, self.plan.dim)
        fields = rows.fields if rows.fields is not None else [{}] * len(rows.names)
        carried = [
            arrow.array(self._restorer.converted(column.name, fields), self._schema.field(column.name).type)
            for column in self.plan.info.columns
        ]
        self._file.write_table(arrow.table([names, *positions, *carried, vectors], schema=self._schema), _ROWS_A_GROUP)
        self._written += len(rows.names)

    def _text(self, row: int, name: str) -> str:
        """Return a name as UTF-8; other names get escapes, and their bytes are kept in the footer."""
        raw = name.encode("utf-8", "surrogateescape")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self._undecodable[str(row)] = raw.hex()
            return raw.decode("utf-8", "backslashreplace")
