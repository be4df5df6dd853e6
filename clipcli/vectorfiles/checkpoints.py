"""Checkpoints of a long run: `OUT.parts`, a folder of vector files, each of which is written completely."""

from __future__ import annotations

import glob
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import numpy as np
from filelock import FileLock, Timeout

from clipcli.core.files import is_folder
from clipcli.errors import OutputError, UsageError, VectorsError
from clipcli.output.targets import UNFINISHED, unfinished_prefix
from clipcli.vectorfiles.columns import CarriedColumn, ColumnTypes
from clipcli.vectorfiles.info import Failure, Shard, VectorRows
from clipcli.vectorfiles.safetensors_file import SafetensorsFile
from clipcli.vectorfiles.vector_file import description_path, errors_path
from clipcli.vectorfiles.vector_formats import create_vectors, open_vectors
from clipcli.vectorfiles.writer import WritePlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from clipcli.core.vectors import Vector
    from clipcli.vectorfiles.info import VectorDtype, VectorsInfo
    from clipcli.vectorfiles.writer import VectorsWriter


@dataclass(frozen=True)
class Chunk:
    """The results of some consecutive inputs."""

    rows: VectorRows
    """The vectors, with positions."""
    failures: Sequence[Failure] = ()


@dataclass
class Collector:
    """Collects results of single inputs into a chunk."""

    dim: int
    _names: list[str] = field(default_factory=list)
    _vectors: list[Vector] = field(default_factory=list)
    carries: bool = False
    """Whether inputs have columns of tables."""
    _positions: list[int] = field(default_factory=list)
    _fields: list[Mapping[str, object]] = field(default_factory=list)
    _failures: list[Failure] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._names) + len(self._failures)

    def add(
        self, name: str, vector: Vector | None, position: int, lost: Failure | None = None,
        fields: Mapping[str, object] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Add an input with its (dim,) vector and its carried columns, or with its failure."""
        if lost is not None:
            self._failures.append(lost)
        elif vector is not None:
            self._names.append(name)
            self._vectors.append(vector)
            self._positions.append(position)
            self._fields.append(fields)

    def chunk(self) -> Chunk:
        """Return everything collected so far."""
        vectors = np.stack(self._vectors) if self._vectors else np.zeros((0, self.dim), np.float32)
        fields = self._fields if self.carries else None
        return Chunk(VectorRows(self._names, vectors, np.array(self._positions, np.int64), fields), self._failures)

    def take(self) -> Chunk:
        """Return everything collected so far and start an empty chunk."""
        chunk = self.chunk()
        self._names, self._vectors, self._positions, self._fields, self._failures = [], [], [], [], []
        return chunk


def write_chunk(writer: VectorsWriter, chunk: Chunk) -> None:
    """Write rows and failures in the order of their positions; only shards store the positions."""
    rows, start = chunk.rows, 0
    positions = np.zeros(len(rows.names), np.int64) if rows.positions is None else rows.positions
    for lost in sorted(chunk.failures, key=lambda failure: failure.position):
        stop = int(np.searchsorted(positions, lost.position))
        _write_rows(writer, rows, start, stop)
        writer.fail(lost)
        start = stop
    _write_rows(writer, rows, start, len(rows.names))


def _write_rows(writer: VectorsWriter, rows: VectorRows, start: int, stop: int) -> None:
    if start < stop:
        part = rows.part(start, stop)
        writer.write(part if writer.plan.info.shard is not None else replace(part, positions=None))


_SUFFIX = ".safetensors"
_LOCK = "lock"
_UNFINISHED = Shard(1, 1, 0, "")
"""Marks a part of a run that had not seen all inputs yet."""


@dataclass(frozen=True)
class Done:
    """An input that an interrupted run has processed."""

    position: int
    name: str
    failed: bool = False


class PartsFolder:
    """The parts of one output. Only one process may open it at a time."""

    def __init__(self, out: Path, dtype: VectorDtype) -> None:
        self.folder = parts_path(out)
        self._out = out
        self._dtype: VectorDtype = dtype
        self._info: VectorsInfo | None = None
        self._dim = 0
        self._count = 0
        self._has_remains = False

    def begin(self, info: VectorsInfo, dim: int) -> None:
        """Set the description of the parts, and compare it with the parts of an interrupted run.

        Raises:
            UsageError: the existing parts have another description.
            VectorsError: an existing part is damaged.
        """
        self._info = replace(info, shard=_unfinished(info.shard), columns=_untyped(info.columns))
        self._dim = dim
        for file in self.files():
            part = _opened(file)
            part_info = replace(part.info, columns=_untyped(part.info.columns))
            if part_info != self._info:
                raise _differ(self.folder, *_difference(part_info, self._info))
            if part.vectors.dtype != self._dtype:
                raise _differ(self.folder, "dtype", part.vectors.dtype, self._dtype)
        self._count = len(self.files())

    def files(self) -> list[Path]:
        """Return the parts, in order."""
        return sorted(self.folder.glob(f"[0-9]*{_SUFFIX}"))

    def add(self, chunk: Chunk) -> None:
        """Write another part, unless the chunk is empty.

        Raises:
            OutputError: the disk is full; the earlier parts stay.
        """
        if self._info is None:
            raise ValueError("call begin() first")
        if not chunk.rows.names and not chunk.failures:
            return
        path = self.folder / f"{self._count:06d}{_SUFFIX}"
        types = ColumnTypes(self._info.columns)
        types.add(chunk.rows.fields or ())
        info = replace(self._info, columns=types.columns)
        plan = WritePlan(path, info, len(chunk.rows.names), self._dim, self._dtype)
        with create_vectors("safetensors", plan) as writer:
            write_chunk(writer, chunk)
        self._count += 1

    def chunks(self) -> Iterator[Chunk]:
        """Yield the content of the parts, one chunk per part."""
        for file in self.files():
            yield read_part(file)

    def inputs(self) -> Iterator[Done]:
        """Yield every input in the parts, in order."""
        for chunk in self.chunks():
            positions = [] if chunk.rows.positions is None else chunk.rows.positions.tolist()
            good = (Done(*pair) for pair in zip(positions, chunk.rows.names, strict=True))
            lost = (Done(lost.position, lost.name, failed=True) for lost in chunk.failures)
            yield from sorted([*good, *lost], key=lambda item: item.position)

    def columns(self) -> tuple[CarriedColumn, ...]:
        """Return the carried columns, with types that hold the values of all parts."""
        types = ColumnTypes()
        for file in self.files():
            types.merge(open_vectors(file, empty_ok=True).info.columns)
        return types.columns

    def rows(self) -> int:
        """Return the number of vectors in the parts."""
        return sum(len(open_vectors(file, empty_ok=True)) for file in self.files())

    def remove(self) -> None:
        """Delete the folder once the output is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._has_remains = is_folder(self.folder)

    def remove_remains(self) -> None:
        """Remove the lock and its folder where Windows, which keeps files that are open, kept them; it is released."""
        if self._has_remains:
            with suppress(OSError):  # another run may hold it by now
                (self.folder / _LOCK).unlink(missing_ok=True)
                self.folder.rmdir()


def parts_path(out: Path) -> Path:
    """Return the folder of an output's parts."""
    return out.with_name(out.name + ".parts")


def has_parts(out: Path) -> bool:
    """Return whether a stopped run left parts."""
    return bool(PartsFolder(out, "float32").files())


def read_part(file: Path) -> Chunk:
    """Read a part as a chunk. Raises VectorsError."""
    opened = open_vectors(file, empty_ok=True)
    positions = opened.positions
    if positions is None:
        raise VectorsError(f"{file}: has no positions, so it is not a part of a run")
    fields = opened.fields if opened.info.columns else None
    rows = VectorRows(list(opened.names), opened.matrix(), np.asarray(positions), fields)
    return Chunk(rows, opened.failures)


@contextmanager
def open_parts(out: Path, dtype: VectorDtype, *, resume: bool, name: str = "") -> Iterator[PartsFolder]:
    """Open and lock the folder of parts; keep the parts of an interrupted run if `resume`, delete them otherwise.

    Args:
        out: the output file.
        dtype: the type of its numbers.
        resume: continue an interrupted run.
        name: the output's name in messages, if it differs from `out`.

    Raises:
        OutputError: the folder cannot be written, or another process writes the same output.
    """
    parts = PartsFolder(out, dtype)
    if is_folder(out):
        raise OutputError(f"cannot write {out}: is a folder", hint="name a file in it")
    try:
        parts.folder.mkdir(exist_ok=True)
        with FileLock(parts.folder / _LOCK, timeout=0, mode=0o600):
            _clean(parts, out, resume=resume)
            try:
                yield parts
            finally:
                if not parts.files():
                    parts.remove()
        parts.remove_remains()
    except Timeout as error:
        raise OutputError(f"another clipcli is writing {name or out}") from error
    except OSError as error:
        hint = "make the folder first" if isinstance(error, FileNotFoundError) else None
        raise OutputError(f"cannot write {out}: {(error.strerror or str(error)).lower()}", hint=hint) from error


def _clean(parts: PartsFolder, out: Path, *, resume: bool) -> None:
    """Delete half-written files of a killed run and, unless `resume`, the parts of an earlier run."""
    kept_names = {_LOCK, *(file.name for file in parts.files() if resume)}
    for file in parts.folder.iterdir():
        if file.name not in kept_names:
            file.unlink()
    target = out.resolve()
    for name in (target.name, description_path(target).name, errors_path(target).name):
        for file in target.parent.glob(glob.escape(unfinished_prefix(name)) + "????????" + UNFINISHED):
            file.unlink()


def _opened(file: Path) -> SafetensorsFile:
    try:
        return SafetensorsFile(file)
    except VectorsError as error:
        raise VectorsError(error.message, hint="leave out --resume to start over") from error


def _untyped(columns: Sequence[CarriedColumn]) -> tuple[CarriedColumn, ...]:
    return tuple(CarriedColumn(column.name) for column in columns)


def _unfinished(shard: Shard | None) -> Shard:
    return _UNFINISHED if shard is None else replace(shard, inputs=0, listing="")


def _difference(info: VectorsInfo, current: VectorsInfo) -> tuple[str, object, object]:
    names = (
        "kind",
        "model",
        "fingerprint",
        "precision",
        "unit_length",
        "prompts",
        "decoding",
        "pixels",
        "shard",
        "columns",
    )
    name = next((name for name in names if getattr(info, name) != getattr(current, name)), "parameters")
    return name.replace("_", " "), _describe(name, getattr(info, name)), _describe(name, getattr(current, name))


def _describe(name: str, value: object) -> object:
    if isinstance(value, Shard):
        return f"{value.index}/{value.count}"
    if name == "columns":
        return ", ".join(column.name for column in cast("tuple[CarriedColumn, ...]", value)) or "none"
    return value if value != "" else "default" if name == "decoding" else "none"


def _differ(folder: Path, name: str, stored: object, current: object) -> UsageError:
    return UsageError(
        f"{folder}: the stored parts have {name} {stored}, this run has {current}",
        hint="leave out --resume to start over",
    )
