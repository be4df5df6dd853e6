"""Read Parquet files with a column of images or of paths, one row group at a time."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from clipcli.core.arrow import check_sizes, no_such_column, pyarrow
from clipcli.core.files import own_error, read_bytes, reason_of, words_of
from clipcli.core.redaction import redact_url
from clipcli.errors import ClipcliError, ImageError, InputsError
from clipcli.inputs.row_filter import RowSelector
from clipcli.inputs.sources.fetch import open_random, read_object
from clipcli.inputs.sources.filesystems import attempt, driver_message, is_url
from clipcli.inputs.sources.refs import MAX_BYTES, NO_FIELDS, ImageRef
from clipcli.inputs.sources.text_tables import IMAGE_COLUMNS, beside, column_of, kept_columns, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.refs import ListedPath

_OPEN_TABLES: Final = 4
_GROUPS: Final = 2
"""Row groups per table kept in memory: threads may read the end of one and the beginning of the next."""


@dataclass(frozen=True)
class Cell:
    """The image in one row of a table."""

    table: str
    column: str
    group: int
    row: int
    """Row number within the row group."""
    size: ClassVar[int | None] = None

    @property
    def is_remote(self) -> bool:
        """Return whether the table is remote."""
        return is_url(self.table)

    def read(self) -> bytes:
        """Return the image's bytes. Raises ImageError."""
        table = _opened(self.table, _state(self.table))
        data = table.cell(self.column, self.group, self.row)
        if data is None and (path := table.path_beside(self.column, self.group, self.row)):
            return _read_path(self.table, path)
        if not data:
            raise ImageError("read", "no image in this row" if data is None else "empty file")
        return bytes(data)


@dataclass(frozen=True)
class Column:
    """The column of a table that holds images or paths."""

    name: str
    """The column's name; for a field of a struct, `COLUMN.FIELD`."""
    holds: Literal["bytes", "paths"]


class Table:
    """An open Parquet file."""

    def __init__(self, path: str) -> None:
        arrow = pyarrow()
        self.path = path
        self.shown = redact_url(path)
        try:
            with own_error(InputsError, self.shown, what="cannot be read"):
                self.file = arrow.parquet.ParquetFile(open_random(path))
                self.schema = self.file.schema_arrow
                check_sizes(self.file.metadata)
        except ImageError as error:
            raise InputsError(f"{self.shown}: cannot be read: {error.reason}") from error
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[int, str], Any] = OrderedDict()

    @property
    def groups(self) -> list[int]:
        """Return the number of rows of each row group."""
        metadata = self.file.metadata
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def cell(self, column: str, group: int, row: int) -> Any:
        """Return one image, as bytes, or None; keep its row group in memory for the next rows.

        Raises:
            ImageError: at stage `read`, the row group cannot be read.
        """
        with self._lock:
            key = (group, column)
            if key not in self._groups:
                self._groups[key] = self.column(group, column)
                while len(self._groups) > _GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(key)
            values = self._groups[key]
        return _plain(values[row].as_py())

    def path_beside(self, column: str, group: int, row: int) -> str | None:
        """Return the path that a struct has where its bytes are null, as datasets of Hugging Face do; None for none."""
        name = column.removesuffix(".bytes")
        if name == column or all(part.name != "path" for part in self.schema.field(name).type):
            return None
        path = self.cell(f"{name}.path", group, row)
        return path if isinstance(path, str) else None

    def fields(self, group: int, columns: Sequence[str], rows: int) -> Iterable[Mapping[str, object]]:
        """Return the values of the given columns for each row of a row group. Raises ImageError."""
        if not columns:
            return repeat(NO_FIELDS, rows)
        return self._read(group, columns).to_pylist()  # type: ignore[no-any-return]

    def column(self, group: int, column: str) -> Any:
        """Return a column of a row group as a pyarrow array.

        Raises:
            ImageError: at stage `read`, the row group cannot be read.
        """
        return self._read(group, [column]).column(0)

    def _read(self, group: int, columns: Sequence[str]) -> Any:
        def read_group() -> Any:
            return self.file.read_row_group(group, columns=list(columns))

        try:
            return attempt(read_group) if is_url(self.path) else read_group()
        except (ImageError, ClipcliError):
            raise
        except Exception as error:
            raise ImageError("read", f"the table is damaged ({driver_message(words_of(error))})") from error


def images(
    path: str, column_name: str | None, keep: Sequence[str] = (), where: Condition | None = None
) -> Iterator[ImageRef | ListedPath]:
    """Yield the images of a table: references to its cells, named `TABLE/ROW` from 0 on, or its paths.

    Args:
        path: a file or URL.
        column_name: the column; None takes the only one that holds bytes, else the first of the usual names.
        keep: columns to keep as fields; `all` keeps every other column without bytes.
        where: the rows to read.

    Raises:
        InputsError: the table cannot be read, or has no such column.
        UsageError: the condition names a column that does not exist.
    """
    table = _opened(path, _state(path))
    column = _column(table, column_name)
    image_column = column.name.partition(".bytes")[0] if column.holds == "bytes" else column.name
    carried = [
        field.name for field in table.file.schema_arrow if not is_bytes(field.type) or field.name == image_column
    ]
    row_selector = RowSelector(where, carried, kept_columns(table.shown, keep, carried, except_column=image_column))
    number = 0
    for group, rows in enumerate(table.groups):
        try:
            fields = map(row_selector.fields, table.fields(group, row_selector.columns, rows))
            if column.holds == "paths":
                yield from _paths(table, column.name, group, number, fields)
            else:
                for row, row_fields in zip(range(rows), fields, strict=True):
                    if row_fields is None:
                        continue
                    tail = f"/{number + row}"
                    yield ImageRef(
                        path + tail, table.shown + tail, None, Cell(path, column.name, group, row), row_fields
                    )
        except ImageError as error:
            yield ImageRef(path, table.shown, error.reason)
        number += rows


def is_image_table(path: str) -> bool:
    """Return whether a table has a column of images, or of paths under a usual name; False for other files."""
    try:
        schema = _opened(path, _state(path)).file.schema_arrow
    except InputsError:
        return False
    usual = {name.casefold() for name in schema.names} & set(IMAGE_COLUMNS)
    is_vectors = "embedding" in schema.names or b"clipcli" in (schema.metadata or {})
    return any(is_bytes(field.type) for field in schema) or (bool(usual) and not is_vectors)


def has_column(path: str, name: str) -> bool:
    """Return whether a table has a column of this name; False for other files."""
    try:
        return name in _opened(path, _state(path)).file.schema_arrow.names
    except InputsError:
        return False


def find_cell(path: str, number: int) -> Cell:
    """Return the image of a row, counted over all row groups.

    Raises:
        ImageError: at stage `read`, there is no such row.
    """
    try:
        table = _opened(path, _state(path))
        column = _column(table, None)
    except InputsError as error:
        raise ImageError("read", error.message) from error
    for group, rows in enumerate(table.groups):
        if number < rows:
            return Cell(path, column.name, group, number)
        number -= rows
    raise ImageError("read", f"no such row in {table.shown}")


def _paths(
    table: Table, column: str, group: int, number: int, fields: Iterable[Mapping[str, object] | None]
) -> Iterator[ImageRef | ListedPath]:
    values = table.column(group, column).to_pylist()
    for row, (value, row_fields) in enumerate(zip(values, fields, strict=True)):
        if row_fields is None:
            continue
        path = _plain(value)
        if isinstance(path, str) and path:
            yield listed(table.path, path, row_fields)
        else:
            tail = f"/{number + row}"
            yield ImageRef(table.path + tail, table.shown + tail, "no path in this row", fields=row_fields)


def _read_path(table: str, path: str) -> bytes:
    """Return the bytes of a file or URL that a table names. Raises ImageError."""
    full = path if is_url(path) else beside(table, path)
    if is_url(full):
        return read_object(full)
    try:
        return read_bytes(full, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise ImageError("read", f"no bytes in this row, and {path}: {reason_of(error)}") from error


def _column(table: Table, name: str | None) -> Column:
    arrow, schema = pyarrow(), table.file.schema_arrow
    if name is None:
        byte_columns = [field.name for field in schema if is_bytes(field.type)]
        if len(byte_columns) > 1:
            raise no_such_column(table.shown, None, schema.names)
        name = byte_columns[0] if byte_columns else column_of(table.shown, None, schema.names, IMAGE_COLUMNS)
    if name not in schema.names:
        raise no_such_column(table.shown, name, schema.names)
    kind = schema.field(name).type
    if arrow.types.is_struct(kind):
        parts = {part.name: part.type for part in kind}
        if "bytes" in parts and is_bytes(parts["bytes"]):
            return Column(f"{name}.bytes", "bytes")
    elif is_bytes(kind):
        return Column(name, "bytes")
    elif arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        return Column(name, "paths")
    raise InputsError(f"{table.shown}: the column {name} holds {kind}, neither images nor paths")


def is_bytes(kind: Any) -> bool:
    """Return whether a column of this Arrow type holds bytes, alone or in a struct."""
    types = pyarrow().types
    if types.is_struct(kind):
        return any(part.name == "bytes" and is_bytes(part.type) for part in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _plain(value: object) -> object:
    """Return the value inside structs of one field."""
    while isinstance(value, dict):
        value = next(iter(value.values()), None)
    return value


def _state(path: str) -> tuple[int, ...]:
    """Return device, inode, size and mtime of a local file, which change with the file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - any bytes
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=_OPEN_TABLES)
def _opened(path: str, _state: tuple[int, ...]) -> Table:
    return Table(path)
