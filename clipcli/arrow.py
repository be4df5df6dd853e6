"""pyarrow, which is optional: the one place that imports it."""

from __future__ import annotations

from typing import Any

from clipcli.errors import InputsError


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


def no_such_column(source: str, column: str | None, names: list[str]) -> InputsError:
    """What to say when `--column` names none of the columns, or is missing."""
    problem = f"has no column {column}" if column else "has several columns"
    return InputsError(f"{source}: {problem}", hint="--column takes one of " + ", ".join(map(str, names)))
