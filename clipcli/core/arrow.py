"""The optional package pyarrow. Only this module imports it."""

from __future__ import annotations

from typing import Any, Final

from clipcli.core.decode import DecodeError
from clipcli.core.files import size_words
from clipcli.core.optional_packages import require_packages
from clipcli.errors import InputsError

_LARGEST_COLUMN: Final = 4 << 30
"""Limit in bytes of one unpacked column of one row group; tables of images have a few hundred MB."""


def pyarrow() -> Any:
    """Return the package, with its Parquet module loaded.

    Raises:
        PackageMissingError: pyarrow is not installed.
    """
    require_packages("parquet", "Parquet")
    import pyarrow as pa
    import pyarrow.parquet

    return pa


def no_such_column(source: str, column: str | None, names: list[str]) -> InputsError:
    """Return the error for a `--column` that is missing or names no column of the table."""
    problem = f"has no column {column}" if column else "has several columns"
    return InputsError(f"{source}: {problem}", hint="--column takes one of " + ", ".join(map(str, names)))


def check_sizes(metadata: Any) -> None:
    """Refuse a Parquet file with a column that unpacks to more than `_LARGEST_COLUMN`. Raises DecodeError."""
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for column in range(rows.num_columns):
            size = rows.column(column).total_uncompressed_size
            if not 0 <= size <= _LARGEST_COLUMN:
                raise DecodeError(f"a column of a row group unpacks to more than {size_words(_LARGEST_COLUMN)}")
