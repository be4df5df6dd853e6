"""Open and create vector files by the name of their format."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from clipcli.core.files import is_file, is_there
from clipcli.core.redaction import redact
from clipcli.errors import InputsError, OutputError, UsageError, VectorsError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.parquet import has_column, is_image_table
from clipcli.inputs.sources.text_tables import header_of, is_image_list
from clipcli.vectorfiles.vector_file import description_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipcli.vectorfiles.vector_file import VectorFile
    from clipcli.vectorfiles.writer import VectorsWriter, WritePlan

VectorFormat = Literal["npy", "npz", "parquet", "safetensors", "jsonl", "csv"]
VECTOR_FORMATS: tuple[VectorFormat, ...] = get_args(VectorFormat)
STREAMS: tuple[VectorFormat, ...] = ("jsonl", "csv")
"""Formats that can be written to a pipe, row by row."""
_BY_SUFFIX: dict[str, VectorFormat] = {f".{name}": name for name in VECTOR_FORMATS} | {
    ".ndjson": "jsonl",
    ".pq": "parquet",
}


def format_of(path: str | Path) -> VectorFormat | None:
    """Return the format of a file's suffix, or None."""
    return _BY_SUFFIX.get(Path(path).suffix.lower())


def holds_vectors(path: str, column: str | None = None) -> bool:
    """Return whether an argument names vectors: a file by suffix, or a folder, URL or pattern of Parquet parts.

    A table of images has the same suffix; its columns decide, or `column`, which only tables of images need.
    """
    from clipcli.vectorfiles.parquet_dataset import parts_of

    chosen = format_of(path)
    if chosen is None or os.path.isdir(path):  # noqa: PTH112 - any bytes
        return bool(parts_of(path))
    if chosen in {"csv", "jsonl"}:
        return column is None and not is_image_list(path)
    if chosen != "parquet":
        return True
    return not (column is not None or is_image_table(next(iter(parts_of(path)), path)))


def is_vector_file(path: str) -> bool:
    """Return whether a file certainly holds vectors, judged by its suffix or, for tables, by its columns."""
    chosen = format_of(path)
    if chosen is None or os.path.isdir(path):  # noqa: PTH112 - any bytes
        return False
    if chosen in {"csv", "jsonl"}:
        return _has_vector_columns(path)
    if chosen != "parquet":
        return True
    from clipcli.vectorfiles.parquet_dataset import parts_of

    return has_column(next(iter(parts_of(path)), path), "embedding")


def _has_vector_columns(path: str) -> bool:
    """Return whether a text table holds vectors; False for an unreadable one, which fails later."""
    try:
        names = set(header_of(path))
    except InputsError:
        return False
    is_failure = names == {"image", "error"} or ({"image", "error"} <= names and is_there(description_path(Path(path))))
    return {"fingerprint", "v0"} <= names or "embedding" in names or is_failure


def open_vectors(path: str | Path, *, empty_ok: bool = False) -> VectorFile:
    """Open a vector file of any format by its suffix, or the Parquet parts in a folder or URL as one file.

    Raises:
        VectorsError: the file is missing, of an unknown format, damaged, without a description of its model, or empty.
    """
    file = _open(path)
    if file.is_empty and not empty_ok:
        raise VectorsError(f"{file.path}: holds no vector")
    return file


def _open(path: str | Path) -> VectorFile:
    from clipcli.vectorfiles.parquet_dataset import ParquetDataset, parts_of

    if parts := parts_of(str(path)):
        return ParquetDataset(str(path), parts)
    file = Path(path)
    chosen = format_of(file)
    remote = is_url(str(path))
    if not remote and not is_there(file):
        raise VectorsError(f"{path}: no such file")
    if chosen is None:
        raise VectorsError(f"{path}: not the suffix of a vector file", hint="use one of " + ", ".join(_BY_SUFFIX))
    if remote:
        return _open_remote(str(path), chosen)
    if not is_file(file):
        raise VectorsError(f"{path}: not a file")
    return _classes(chosen)[0](file)


def _open_remote(url: str, chosen: VectorFormat) -> VectorFile:
    from clipcli.vectorfiles.parquet_file import ParquetFile

    if chosen != "parquet":
        raise VectorsError(f"{redact(url)}: only Parquet can be read from a URL", hint="copy the file to this machine")
    return ParquetFile(url)


@contextmanager
def create_vectors(chosen: VectorFormat, plan: WritePlan) -> Iterator[VectorsWriter]:
    """Yield a writer for `plan`; its files replace older ones when the block ends without an error.

    Raises:
        UsageError: the format cannot be written to stdout.
        OutputError: the file cannot be written, or the disk is full.
    """
    if plan.path is None and chosen not in STREAMS:
        raise UsageError(
            f"{chosen} cannot be written to a pipe", hint="give -o FILE, or --format " + " or ".join(STREAMS)
        )
    with _output_errors(plan), ExitStack() as stack:
        writer = _classes(chosen)[1](plan, stack)
        yield writer
        writer.close()


@contextmanager
def _output_errors(plan: WritePlan) -> Iterator[None]:
    """Turn an OSError, such as a full disk, into an OutputError; a closed pipe passes through."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {plan.path}: {(error.strerror or str(error)).lower()}") from error


def _classes(
    chosen: VectorFormat,
) -> tuple[Callable[[Path], VectorFile], Callable[[WritePlan, ExitStack], VectorsWriter]]:
    """Return reader and writer of a format; import only its module."""
    match chosen:
        case "npy":
            from clipcli.vectorfiles.numpy_file import NpyFile, NpyWriter

            return NpyFile, NpyWriter
        case "npz":
            from clipcli.vectorfiles.numpy_file import NpzFile, NpzWriter

            return NpzFile, NpzWriter
        case "parquet":
            from clipcli.vectorfiles.parquet_file import ParquetFile, ParquetWriter

            return ParquetFile, ParquetWriter
        case "safetensors":
            from clipcli.vectorfiles.safetensors_file import SafetensorsFile, SafetensorsWriter

            return SafetensorsFile, SafetensorsWriter
        case "jsonl":
            from clipcli.vectorfiles.text_file import JsonlFile, JsonlWriter

            return JsonlFile, JsonlWriter
        case "csv":
            from clipcli.vectorfiles.text_file import CsvFile, CsvVectorsWriter

            return CsvFile, CsvVectorsWriter
