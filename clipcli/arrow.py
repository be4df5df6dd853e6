"""pyarrow, which is optional: the one place that imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipcli.errors import InputsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROWS_AT_ONCE = 4096


def pyarrow() -> Any:
    """The package, with its Parquet module.

    Raises:
        InputsError: it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise InputsError("Parquet needs the package pyarrow", hint="pip install 'clipcli[parquet]'") from error
    return pa


def text_column(path: Path, column: str | None) -> Iterator[str | None]:
    """The texts of a Parquet file's column, row group by row group; None where the column has none.

    Raises:
        InputsError: no such column, or one that holds no text; the file is damaged.
    """
    arrow = pyarrow()
    try:
        file = arrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        if column not in names:
            raise no_such_column(str(path), column, names)
        kind = file.schema_arrow.field(column).type
        value_type = kind.value_type if arrow.types.is_dictionary(kind) else kind
        if not (arrow.types.is_string(value_type) or arrow.types.is_large_string(value_type)):
            raise InputsError(f"{path}: the column {column} holds {kind}, not text")
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[column]):
            yield from batch.column(0).to_pylist()
    except (OSError, arrow.ArrowException) as error:
        raise InputsError(f"{path}: damaged ({error})") from error


def no_such_column(source: str, column: str | None, names: list[str]) -> InputsError:
    """What to say when `--column` names none of the columns, or is missing."""
    problem = f"has no column {column}" if column else "has several columns"
    return InputsError(f"{source}: {problem}", hint="--column takes one of " + ", ".join(map(str, names)))
