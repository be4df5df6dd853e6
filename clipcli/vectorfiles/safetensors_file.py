"""The safetensors format: `vectors`, `names` and `failures` (the bytes of JSON arrays), `positions` (in shards).

The description is in the metadata, and the tensor `fields` holds carried columns as a JSON array. This module reads and
writes the format itself (8 bytes of header length, a JSON header, the numbers), so that rows can be appended as they
come and mapped without another package.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.files import own_error
from clipcli.errors import VectorsError
from clipcli.output.rows import dumps
from clipcli.vectorfiles.columns import Restorer
from clipcli.vectorfiles.info import KEY, from_json
from clipcli.vectorfiles.json_arrays import read_fields, read_names
from clipcli.vectorfiles.vector_file import MappedFile, failure, failure_record
from clipcli.vectorfiles.writer import VectorsIndex, VectorsWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.vectorfiles.info import Failure, Positions, VectorRows

_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "U8": "u1"}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_HEADER_LIMIT = 100_000_000  # the limit of the safetensors package
_MANY_BYTES = 10**15
_HEADER_STEP = 4096


@dataclass(frozen=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


@dataclass(frozen=True)
class _Metadata:
    clipcli: str = "null"


class SafetensorsFile(MappedFile):
    """A .safetensors file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with own_error(VectorsError, str(path)):
            self._header, self._start = _read_header(path)
            if "vectors" not in self._header:
                raise VectorsError(f"{path}: has no tensor 'vectors'", hint="make it with clipcli embed")
            self.vectors = self._map(path, "vectors")
            record = parse_json(decode(_Metadata, self._header.get("__metadata__", {}), unknown="ignore").clipcli)
        super().__init__(path, from_json(record, str(path)), int(self.vectors.shape[-1]) if self.vectors.ndim else 0)
        self.check_shape()

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the JSON array in the tensor `names`."""
        with own_error(VectorsError, str(self.path), what="its names are damaged"):
            return read_names(self._map(self.path, "names"), len(self.vectors), str(self.path))

    @cached_property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the JSON array in the tensor `fields`."""
        if not self.info.columns:
            return ()
        with own_error(VectorsError, str(self.path), what="its carried columns are damaged"):
            array = self._map(self.path, "fields")
        return read_fields(array, len(self.vectors), Restorer(self.info.columns), str(self.path))

    @cached_property
    def positions(self) -> Positions | None:
        """Return the tensor `positions`, or None."""
        with own_error(VectorsError, str(self.path), what="its positions are damaged"):
            positions = self._map(self.path, "positions") if "positions" in self._header else None
            if positions is not None and (positions.shape != (len(self.vectors),) or positions.dtype != np.int64):
                raise DecodeError("not one number per row")
            return positions

    @cached_property
    def failures(self) -> Sequence[Failure]:
        """Return the JSON array in the tensor `failures`."""
        with own_error(VectorsError, str(self.path), what="its failures are damaged"):
            return [failure(record) for record in parse_json(self._map(self.path, "failures").tobytes())]

    def _map(self, path: Path, name: str) -> npt.NDArray[Any]:
        entry = decode(_Tensor, self._header[name], unknown="ignore")
        first, last = entry.data_offsets
        dtype = np.dtype(_DTYPES[entry.dtype])
        if self._start + last > path.stat().st_size:
            raise DecodeError("shorter than its header says")
        if min(first, *entry.shape, 0) < 0 or math.prod(entry.shape) * dtype.itemsize != last - first:
            raise DecodeError(f"{name}: its shape does not fit its size in bytes")
        if first == last:
            return np.zeros((0, *entry.shape[1:2]), dtype)
        return np.memmap(path, dtype, "r", self._start + first, entry.shape)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _HEADER_LIMIT:
            raise ValueError("its header is too long")
        header = parse_json(stream.read(length))
    if not isinstance(header, dict):
        raise DecodeError("its header is not a JSON object")
    return header, 8 + length


class SafetensorsWriter(VectorsWriter):
    """Reserves space for the header, writes the numbers as they come, and fills in the header at the end."""

    def start(self) -> None:
        """Reserve space for the header."""
        self._index = VectorsIndex(self.stack, self.path.parent, fields=bool(self.plan.info.columns))
        self._failures: list[Failure] = []
        self._room = -(-len(self._header(_MANY_BYTES, _MANY_BYTES, _MANY_BYTES)) // _HEADER_STEP) * _HEADER_STEP
        self.target.write(bytes(8 + self._room + (8 * self.plan.rows if self._has_positions else 0)))

    def write(self, rows: VectorRows) -> None:
        """Append the numbers."""
        self._index.add(rows)
        self.target.write(self.stored(rows).tobytes())

    def fail(self, lost: Failure) -> None:
        """Keep a failure for the tensor `failures`."""
        self._failures.append(lost)

    def finish(self) -> None:
        """Append names and failures, then fill in the header."""
        kind = self.plan.info.kind
        failures = dumps([failure_record(lost, kind, positions=True) for lost in self._failures]).encode("utf-8")
        sizes = [self._append(pieces) for pieces in (self._index.names_array(), [failures], self._index.fields_array())]
        header = self._header(*sizes).ljust(self._room)
        self.target.flush()
        self.target.stream.seek(0)
        self.target.write(self._room.to_bytes(8, "little") + header)
        if self._has_positions:
            self.target.write(self._index.positions().tobytes())

    def _append(self, pieces: Iterable[bytes]) -> int:
        """Write a JSON array in pieces, and return its size in bytes."""
        size = 0
        for piece in pieces:
            self.target.write(piece)
            size += len(piece)
        return size

    @property
    def _has_positions(self) -> bool:
        return self.plan.info.shard is not None

    def _header(self, names: int, failures: int, fields: int) -> bytes:
        shape = [self.plan.rows, self.plan.dim]
        tensors = [
            ("vectors", self.dtype, shape),
            ("names", np.dtype("u1"), [names]),
            ("failures", np.dtype("u1"), [failures]),
        ]
        if self.plan.info.columns:
            tensors.append(("fields", np.dtype("u1"), [fields]))
        if self._has_positions:
            tensors.insert(0, ("positions", np.dtype("<i8"), [self.plan.rows]))
        header: dict[str, object] = {"__metadata__": {KEY: dumps(self.description())}}
        offset = 0
        for name, dtype, dimensions in tensors:
            end = offset + dtype.itemsize * math.prod(dimensions)
            header[name] = {"dtype": _NAMES[dtype], "shape": dimensions, "data_offsets": [offset, end]}
            offset = end
        return json.dumps(header, separators=(",", ":")).encode("ascii")
