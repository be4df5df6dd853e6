"""The npy format: `OUT.npy` for the vectors and `OUT.npy.json` for the description and the names."""

from __future__ import annotations

import io
import json
import mmap
import zlib
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.files import TooLargeError, is_there, own_error
from clipcli.errors import VectorsError
from clipcli.output.json import dumps
from clipcli.vectorfiles.columns import Restorer
from clipcli.vectorfiles.info import VectorRows, from_json
from clipcli.vectorfiles.json_arrays import read_fields, read_names, restored
from clipcli.vectorfiles.vector_file import VectorFile, description_path
from clipcli.vectorfiles.writer import VectorsIndex, VectorsWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.core.vectors import Vectors
    from clipcli.vectorfiles.info import Positions

_NAMES = b'"names": ['
_FIELDS = b'"fields": ['
_MAGIC = b"\x93NUMPY"
_LARGEST_WHOLE = 1 << 30
"""Limit in bytes of a description that another program rewrote, so that all of it must be parsed."""


class MappedFile(VectorFile):
    """A file that holds the vectors as one array, which is mapped into memory."""

    path: Path
    vectors: npt.NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.vectors)

    def read(self, rows: int, *, fields: bool = False) -> Iterator[VectorRows]:
        """Yield slices of the mapped array."""
        names, positions = self.names, self.positions
        carried = self.fields if fields and self.info.columns else None
        for start in range(0, len(self), rows):
            part = slice(start, start + rows)
            vectors = np.asarray(self.vectors[part], dtype=np.float32)
            yield VectorRows(
                names[part], vectors, None if positions is None else positions[part],
                None if carried is None else carried[part],
            )  # fmt: skip

    def matrix(self) -> Vectors:
        """Return the mapped array itself if it holds float32, else a copy."""
        return np.asarray(self.vectors, dtype=np.float32)

    def check_shape(self) -> None:
        """Check that the array has one row of floats per name.

        Raises:
            VectorsError: it is not two-dimensional or not floating point, or has more or fewer rows than names.
        """
        if self.vectors.ndim != 2 or self.vectors.dtype.kind != "f":  # noqa: PLR2004 - rows and columns
            raise VectorsError(
                f"{self.path}: not a table of floating point numbers: {self.vectors.dtype} {self.vectors.shape}"
            )
        if not self.vectors.shape[1]:
            raise VectorsError(f"{self.path}: its vectors have no numbers")
        if len(self.names) != len(self.vectors):
            raise VectorsError(f"{self.path}: {len(self.vectors)} vectors but {len(self.names)} names")


class NpyFile(MappedFile):
    """A .npy file, mapped with NumPy; names and description are in the file beside it."""

    def __init__(self, path: Path) -> None:
        beside = description_path(path)
        for file in (path, beside):
            if not is_there(file):
                raise VectorsError(f"{file}: no such file", hint="a .npy file of clipcli has a .npy.json beside it")
        with own_error(VectorsError, str(path)):
            # For other files NumPy's message suggests loading them as pickles, which is unsafe.
            with path.open("rb") as stream:
                if stream.read(len(_MAGIC)) != _MAGIC:
                    raise DecodeError("it is not a NumPy array")
            self.vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        with own_error(VectorsError, str(beside)):
            self._record, self._listed, self._carried = _described(beside)
        super().__init__(
            path, from_json(self._record, str(beside)), int(self.vectors.shape[-1]) if self.vectors.ndim else 0
        )
        self.check_shape()
        ends = Ends()
        ends.add(self.vectors)
        if self._record.get("ends") != ends.checksum:
            raise VectorsError(
                f"{path}: not from the same run as {beside.name}", hint="make both again with clipcli embed"
            )

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the names, which stay in the file beside until they are looked up."""
        if self._listed is None:
            names = self._record.get("names")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise VectorsError(f"{description_path(self.path)}: damaged (its names are not texts)")
            return names
        return read_names(self._listed, len(self.vectors), str(description_path(self.path)))

    @cached_property
    def positions(self) -> Positions | None:
        """Return the positions from the file beside, or None."""
        positions = self._record.get("positions")
        with own_error(VectorsError, str(description_path(self.path))):
            return None if positions is None else whole_numbers(positions, len(self.vectors))

    @cached_property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the carried columns, which stay in the file beside until they are looked up."""
        if not self.info.columns:
            return ()
        restorer, source = Restorer(self.info.columns), str(description_path(self.path))
        if self._carried is not None:
            return read_fields(self._carried, len(self.vectors), restorer, source)
        fields = restored(self._record.get("fields"), restorer, source)
        if len(fields) != len(self.vectors):
            raise VectorsError(f"{source}: {len(self.vectors)} vectors but {len(fields)} rows of carried columns")
        return fields


def whole_numbers(values: object, count: int) -> Positions:
    """Return `count` integers of a decoded list as int64. Raises DecodeError."""
    if not isinstance(values, list) or len(values) != count or not all(type(value) is int for value in values):
        raise DecodeError(f"its positions are not {count} integers")
    return np.array(values, np.int64)


def _described(beside: Path) -> tuple[dict[str, Any], npt.NDArray[np.uint8] | None, npt.NDArray[np.uint8] | None]:
    """Return the description, and the bytes of its names and carried columns if they come last, as clipcli writes them.

    The keys are searched for from the side on which no text of the user can hold them: inside a JSON string, quotes
    are escaped.
    """
    with beside.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        names, last = text.rfind(_NAMES) + len(_NAMES) - 1, text.rfind(b"]") + 1
        if len(_NAMES) <= names + 1 <= last and text[last:].strip() == b"}":
            key = names - len(_NAMES) + 1
            start = text.find(_FIELDS, 0, key) + len(_FIELDS) - 1
            stop = text.rfind(b"]", start, key) + 1
            has_fields = len(_FIELDS) <= start + 1 < stop and text[stop:key].strip() == b","
            with suppress(DecodeError):
                record = _object(text[: start if has_fields else names] + b"[]}")
                fields = _bytes_of(beside, start, stop) if has_fields else None
                return record, _bytes_of(beside, names, last), fields
        if len(text) > _LARGEST_WHOLE:
            raise TooLargeError(_LARGEST_WHOLE)
        return _object(text[:]), None, None


def _bytes_of(file: Path, start: int, stop: int) -> npt.NDArray[np.uint8]:
    return np.memmap(file, np.uint8, "r", start, (stop - start,))


def _object(text: bytes) -> dict[str, Any]:
    record = parse_json(text)
    if not isinstance(record, dict):
        raise DecodeError("not a JSON object")
    return record


class NpyWriter(VectorsWriter):
    """Writes numbers as they come, and names at the end with a checksum that links the two files."""

    def start(self) -> None:
        """Write the header of the array."""
        self._beside = self.beside(description_path)
        self._index = VectorsIndex(self.stack, self.path.parent, fields=bool(self.plan.info.columns))
        self._ends = Ends()
        self.target.write(array_header(self.dtype, (self.plan.rows, self.plan.dim)))

    def write(self, rows: VectorRows) -> None:
        """Append the numbers."""
        data = self.stored(rows)
        self._ends.add(data)
        self._index.add(rows)
        self.target.write(data.tobytes())

    def finish(self) -> None:
        """Write the second file: the description, then the names."""
        head = dumps({**self.description(), "ends": self._ends.checksum}).removesuffix("}")
        self._beside.write(head.encode("utf-8"))
        positions = self._index.positions()
        if self.plan.info.shard is not None:
            self._beside.write(b', "positions": ' + json.dumps(positions.tolist()).encode())
        if self.plan.info.columns:
            self._beside.write(b', "fields": ')
            for piece in self._index.fields_array():
                self._beside.write(piece)
        self._beside.write(b', "names": ')
        for piece in self._index.names_array():
            self._beside.write(piece)
        self._beside.write(b"}\n")


class Ends:
    """A checksum over the first and the last row: cheap, and enough to distinguish two runs."""

    def __init__(self) -> None:
        self._first = self._last = b""

    def add(self, data: npt.NDArray[np.floating]) -> None:
        """Add rows."""
        if len(data):
            self._first = self._first or data[0].tobytes()
            self._last = data[-1].tobytes()

    @property
    def checksum(self) -> int:
        """Return the CRC-32 of the first and the last row so far."""
        return zlib.crc32(self._last, zlib.crc32(self._first))


def array_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the header of a .npy array in C order."""
    stream = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()
