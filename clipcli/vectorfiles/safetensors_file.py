"""safetensors: `vectors`, `names` and `failures` (the bytes of JSON arrays), `positions` (in shards).

The description stands in the metadata. The format (8 bytes of header length, a JSON header, the numbers) is read and
written here directly, so that rows can be appended as they come and mapped without another package.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clipcli.errors import VectorsError
from clipcli.output.json_lines import dumps
from clipcli.vectorfiles.base import failure, failure_record
from clipcli.vectorfiles.info import KEY, from_json
from clipcli.vectorfiles.names import read_names
from clipcli.vectorfiles.npy import MappedFile
from clipcli.vectorfiles.writer import Index, VectorsWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.vectorfiles.info import Failure, Positions, VectorRows

_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "U8": "u1"}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_HEADER_LIMIT = 100_000_000  # the safetensors package takes no longer header
_MANY_BYTES = 10**15
_HEADER_STEP = 4096


class SafetensorsFile(MappedFile):
    """Everything is mapped."""

    def __init__(self, path: Path) -> None:
        try:
            self._header, self._start = _read_header(path)
            self.vectors = self._map(path, "vectors")
            record = json.loads(self._header.get("__metadata__", {}).get(KEY, "null"))
        except KeyError as error:
            raise VectorsError(f"{path}: has no tensor {error}", hint="make it with clipcli embed") from error
        except (OSError, ValueError, TypeError) as error:
            raise VectorsError(f"{path}: damaged ({error})") from error
        super().__init__(path, from_json(record, str(path)), int(self.vectors.shape[-1]) if self.vectors.ndim else 0)
        self.check_shape()

    @cached_property
    def names(self) -> Sequence[str]:
        """The JSON array in the tensor `names`."""
        try:
            return read_names(self._map(self.path, "names"), len(self.vectors), str(self.path))
        except (KeyError, ValueError) as error:
            raise VectorsError(f"{self.path}: its names are damaged ({error})") from error

    @cached_property
    def positions(self) -> Positions | None:
        """The tensor `positions`."""
        return self._map(self.path, "positions") if "positions" in self._header else None

    @cached_property
    def failures(self) -> Sequence[Failure]:
        """The JSON array in the tensor `failures`."""
        return [failure(record) for record in self._json("failures")]

    def _json(self, name: str) -> list[Any]:
        try:
            return cast("list[Any]", json.loads(self._map(self.path, name).tobytes()))
        except (KeyError, ValueError) as error:
            raise VectorsError(f"{self.path}: its {name} are damaged ({error})") from error

    def _map(self, path: Path, name: str) -> npt.NDArray[Any]:
        entry = self._header[name]
        first, last = entry["data_offsets"]
        if self._start + last > path.stat().st_size:
            raise ValueError("shorter than its header says")
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        if first == last:
            return np.zeros(entry["shape"], dtype)
        return np.memmap(path, dtype, "r", self._start + first, tuple(entry["shape"]))


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _HEADER_LIMIT:
            raise ValueError("its header is too long")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise TypeError("its header is no object")
    return header, 8 + length


class SafetensorsWriter(VectorsWriter):
    """Room for the header first, then the numbers as they come; the header is filled in at the end."""

    def start(self) -> None:
        """Leave room for the header."""
        self._index = Index(self.stack, self.path.parent)
        self._failures: list[Failure] = []
        self._room = -(-len(self._header(names=_MANY_BYTES, failures=_MANY_BYTES)) // _HEADER_STEP) * _HEADER_STEP
        self.target.write(bytes(8 + self._room + (8 * self.plan.rows if self._has_positions else 0)))

    def write(self, rows: VectorRows) -> None:
        """Append the numbers."""
        self._index.add(rows)
        self.target.write(self.stored(rows).tobytes())

    def fail(self, lost: Failure) -> None:
        """Keep it for the tensor `failures`."""
        self._failures.append(lost)

    def finish(self) -> None:
        """Append names and failures, then fill in the header."""
        kind = self.plan.info.kind
        failures = dumps([failure_record(lost, kind, positions=True) for lost in self._failures]).encode("utf-8")
        names = 0
        for piece in self._index.json_array():
            self.target.write(piece)
            names += len(piece)
        self.target.write(failures)
        header = self._header(names=names, failures=len(failures)).ljust(self._room)
        self.target.flush()
        self.target.stream.seek(0)
        self.target.write(self._room.to_bytes(8, "little") + header)
        if self._has_positions:
            self.target.write(self._index.positions().tobytes())

    @property
    def _has_positions(self) -> bool:
        return self.plan.info.shard is not None

    def _header(self, *, names: int, failures: int) -> bytes:
        shape = [self.plan.rows, self.plan.dim]
        tensors = [
            ("vectors", self.dtype, shape),
            ("names", np.dtype("u1"), [names]),
            ("failures", np.dtype("u1"), [failures]),
        ]
        if self._has_positions:
            tensors.insert(0, ("positions", np.dtype("<i8"), [self.plan.rows]))
        header: dict[str, object] = {"__metadata__": {KEY: dumps(self.description())}}
        offset = 0
        for name, dtype, dimensions in tensors:
            end = offset + dtype.itemsize * math.prod(dimensions)
            header[name] = {"dtype": _NAMES[dtype], "shape": dimensions, "data_offsets": [offset, end]}
            offset = end
        return json.dumps(header, separators=(",", ":")).encode("ascii")
