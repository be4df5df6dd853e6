"""Merge vector files into one: shards in the order of their inputs, other files one after the other."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from clipcli.core.console import printable
from clipcli.core.files import is_folder
from clipcli.errors import VectorsError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.patterns import named_files
from clipcli.vectorfiles.checkpoints import Chunk, write_chunk
from clipcli.vectorfiles.columns import ColumnTypes
from clipcli.vectorfiles.info import DescribedVectors, VectorRows, join_rows
from clipcli.vectorfiles.parquet_dataset import no_parts, parts_of
from clipcli.vectorfiles.vector_formats import create_vectors, format_of, open_vectors
from clipcli.vectorfiles.writer import WritePlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.vectorfiles.columns import CarriedColumn
    from clipcli.vectorfiles.info import VectorDtype, VectorsInfo
    from clipcli.vectorfiles.vector_file import VectorFile
    from clipcli.vectorfiles.vector_formats import VectorFormat

_BUCKETS: Final = 64
"""Buckets of digests, searched one by one: a billion names take 16 GB on disk and 250 MB in memory."""
_IN_MEMORY: Final = 32 << 20
_RECORD: Final = np.dtype([("high", "<u8"), ("low", "<u4"), ("file", "<u4")])
_DIGEST_BYTES: Final = 12


class DuplicateNames:
    """Finds a name that occurs in two files."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._waiting = [bytearray() for _ in range(_BUCKETS)]
        self._bytes = 0
        self._files: list[IO[bytes]] = []

    def add(self, names: Iterable[str], file: int) -> None:
        """Add names of the file number `file`."""
        number = file.to_bytes(4, "little")
        for name in names:
            digest = digest_of(name)
            self._waiting[digest[0] % _BUCKETS] += digest + number
            self._bytes += _RECORD.itemsize
        if self._bytes > _IN_MEMORY:
            self._flush()

    def find(self) -> tuple[int, int, bytes] | None:
        """Return the numbers of two files and the digest of a name in both; None if there is none."""
        for bucket in range(_BUCKETS):
            records = np.frombuffer(self._bucket_bytes(bucket), _RECORD)
            records = records[np.lexsort((records["file"], records["low"], records["high"]))]
            previous, following = records[:-1], records[1:]
            is_duplicate = (
                (previous["high"] == following["high"])
                & (previous["low"] == following["low"])
                & (previous["file"] != following["file"])
            )
            if is_duplicate.any():
                index = int(is_duplicate.argmax())
                digest = records[index].tobytes()[:_DIGEST_BYTES]
                return int(previous["file"][index]), int(following["file"][index]), digest
        return None

    def _flush(self) -> None:
        if not self._files:
            opened = (tempfile.TemporaryFile() for _ in range(_BUCKETS))  # noqa: SIM115 - the stack closes them
            self._files = [self._stack.enter_context(file) for file in opened]
        for file, waiting in zip(self._files, self._waiting, strict=True):
            file.write(waiting)
            waiting.clear()
        self._bytes = 0

    def _bucket_bytes(self, bucket: int) -> bytes:
        if not self._files:
            return bytes(self._waiting[bucket])
        self._files[bucket].seek(0)
        return self._files[bucket].read() + bytes(self._waiting[bucket])


def digest_of(name: str) -> bytes:
    """Return a digest of 12 bytes; two of a billion names collide with a probability of 10⁻¹¹."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


_ROWS_AT_ONCE = 2048


def merge(
    files: Sequence[VectorFile], out: Path, chosen: VectorFormat, dtype: VectorDtype, *, complete: bool = True
) -> int:
    """Write all rows to one file and return their number.

    Args:
        files: at least one file, all of one model.
        out: the new file.
        chosen: its format.
        dtype: the type of its numbers.
        complete: refuse incomplete sets of shards and unfinished shards.

    Raises:
        VectorsError: the files are of different models or kinds, overlap, or are incomplete.
        OutputError: the new file cannot be written.
    """
    _check_alike(files)
    shards = [file.info.shard is not None for file in files]
    if any(shards) and not all(shards):
        raise VectorsError(
            f"{files[shards.index(False)].path}: is not a shard, but {files[shards.index(True)].path} is"
        )
    if complete and all(shards):
        _check_complete(files)
    rows = sum(len(file) for file in files)
    info = replace(_info(files), shard=None, columns=_columns(files))
    with create_vectors(chosen, WritePlan(out, info, rows, files[0].dim, dtype)) as writer:
        for chunk in _in_order(files) if all(shards) else _one_after_the_other(files):
            write_chunk(writer, chunk)
    return rows


def open_all(paths: Sequence[str]) -> list[VectorFile]:
    """Open vector files, and every part in folders: parts of a stopped run or of a data set.

    Raises:
        VectorsError: a file cannot be used, or a folder holds no part.
    """
    files: list[VectorFile] = []
    for path in named_files(paths):
        folder = Path(path)
        stopped = [str(part) for part in sorted(folder.glob("[0-9]*.safetensors"))] if is_folder(folder) else []
        parts = stopped or parts_of(path)
        if not parts and (is_folder(folder) or (is_url(path) and format_of(path) is None)):
            raise no_parts(path)
        parts = parts or [path]
        files += [open_vectors(part, empty_ok=True) for part in parts]
    return files


def _info(files: Sequence[VectorFile]) -> VectorsInfo:
    """Return the most complete description; text files without a second file hold less."""
    return next((file.info for file in files if file.info.parameters is not None), files[0].info)


def _columns(files: Sequence[VectorFile]) -> tuple[CarriedColumn, ...]:
    """Return the carried columns of all files with types that hold all values; rows that do not say any are read."""
    types = ColumnTypes()
    for file in files:
        types.merge(file.info.columns)
        if any(not column.type for column in file.info.columns):
            for rows in file.field_blocks([column.name for column in file.info.columns], _ROWS_AT_ONCE):
                types.add(rows)
    return types.columns


def _check_alike(files: Sequence[VectorFile]) -> None:
    first, *remaining = (DescribedVectors(str(file.path), file.info, file.dim) for file in files)
    for described in remaining:
        described.require_like(first)


def _check_complete(files: Sequence[VectorFile]) -> None:
    shards = [file.info.shard for file in files if file.info.shard is not None]
    if unfinished := [file for file in files if file.info.shard is not None and file.info.shard.inputs == 0]:
        raise VectorsError(
            f"{unfinished[0].path}: belongs to an unfinished run",
            hint="continue it with --resume, or merge with --incomplete",
        )
    if len({(shard.count, shard.inputs, shard.listing) for shard in shards}) > 1:
        raise VectorsError(
            "the shards have different inputs", hint="run all shards with the same files in the same order"
        )
    indices = sorted(shard.index for shard in shards)
    count = shards[0].count
    if repeated := {index for index in indices if indices.count(index) > 1}:
        raise VectorsError(f"shard {min(repeated)}/{count} was given twice")
    if missing := set(range(1, count + 1)) - set(indices):
        listed = ", ".join(f"{index}/{count}" for index in sorted(missing)[:5])
        raise VectorsError(
            f"{len(missing)} of {count} shards missing: {listed}", hint="add them, or merge with --incomplete"
        )
    dealt_with = sum(len(file) + len(file.failures) for file in files)
    if dealt_with != shards[0].inputs:
        raise VectorsError(f"the shards hold {dealt_with} of {shards[0].inputs} inputs")


def _in_order(files: Sequence[VectorFile]) -> Iterator[Chunk]:
    """Merge sorted streams block by block; a row is final when no stream can still yield an earlier one."""
    streams = [file.read(_ROWS_AT_ONCE, fields=True) for file in files]
    waiting = [next(stream, None) for stream in streams]
    failures = sorted((lost for file in files for lost in file.failures), key=lambda lost: lost.position)
    last = -1
    while any(rows is not None for rows in waiting):
        bound = min(int(_positions(rows)[-1]) for rows in waiting if rows is not None)
        parts: list[VectorRows] = []
        for index, rows in enumerate(waiting):
            if rows is None:
                continue
            ready = int(np.searchsorted(_positions(rows), bound, side="right"))
            parts.append(rows.part(0, ready))
            remaining = rows.part(ready, len(rows.names))
            waiting[index] = remaining if remaining.names else next(streams[index], None)
        chunk = _sorted(parts)
        _check_apart(chunk, last)
        last = bound
        due = [lost for lost in failures if lost.position <= bound]
        failures = failures[len(due) :]
        yield Chunk(chunk, due)
    if failures:
        yield Chunk(VectorRows([], np.zeros((0, files[0].dim), np.float32), np.zeros(0, np.int64)), failures)


def _sorted(parts: Sequence[VectorRows]) -> VectorRows:
    rows = join_rows(parts)
    order = np.argsort(_positions(rows), kind="stable")
    fields = None if rows.fields is None else [rows.fields[index] for index in order]
    return VectorRows([rows.names[index] for index in order], rows.vectors[order], _positions(rows)[order], fields)


def _check_apart(rows: VectorRows, last: int) -> None:
    positions = np.concatenate([[last], _positions(rows)])
    if (bad := np.diff(positions) <= 0).any():
        raise VectorsError(f"the input {printable(rows.names[int(bad.argmax())])} is in two of the files")


def _one_after_the_other(files: Sequence[VectorFile]) -> Iterator[Chunk]:
    with ExitStack() as stack:
        duplicates = DuplicateNames(stack)
        for number, file in enumerate(files):
            for rows in file.read(_ROWS_AT_ONCE, fields=True):
                duplicates.add(rows.names, number)
                yield Chunk(replace(rows, positions=None))
            yield Chunk(VectorRows([], np.zeros((0, file.dim), np.float32)), file.failures)
        if duplicate := duplicates.find():
            first, second, digest = duplicate
            name = next(name for name in files[first].names if digest_of(name) == digest)
            raise VectorsError(f"{printable(name)} is both in {files[first].path} and in {files[second].path}")


def _positions(rows: VectorRows) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if rows.positions is None:
        raise VectorsError("a shard without positions cannot be ordered")
    return rows.positions
