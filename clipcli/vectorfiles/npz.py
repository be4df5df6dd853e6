"""The npz format: arrays `vectors`, `names`, `positions` (in shards) and `clipcli`, the description as JSON text."""

from __future__ import annotations

import math
import struct
import zipfile
from functools import cached_property
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.files import TooLargeError, own_error
from clipcli.errors import VectorsError
from clipcli.output.json import dumps
from clipcli.vectorfiles.columns import Restorer
from clipcli.vectorfiles.info import KEY, from_json
from clipcli.vectorfiles.json_arrays import read_fields
from clipcli.vectorfiles.npy import MappedFile, array_header
from clipcli.vectorfiles.vector_file import LARGEST_DESCRIPTION
from clipcli.vectorfiles.writer import VectorsIndex, VectorsWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.vectorfiles.info import Positions, VectorRows

_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the same rows give the same bytes
_NAMES_AS_ARRAY_LIMIT = 2**30  # NumPy pads every name to the longest; larger arrays are stored as JSON text
_NAMES_A_PIECE = 1000
_LARGEST_NAMES = 4 << 30
_LOCAL_HEADER_BYTES = 30
_UNPACKED_ALWAYS = 64 << 20
_MOST_UNPACKED = 20
"""Highest compression ratio of vectors: a model's numbers hardly compress, so a higher one is an attack."""


class NpzFile(MappedFile):
    """An .npz file; uncompressed vectors are mapped from inside the archive."""

    def __init__(self, path: Path) -> None:
        with own_error(VectorsError, str(path)), zipfile.ZipFile(path) as archive:
            missing = {"vectors.npy", f"{KEY}.npy"} - set(archive.namelist())
            if missing:
                names = ", ".join(sorted(name.removesuffix(".npy") for name in missing))
                raise VectorsError(f"{path}: has no array {names}", hint="make it with clipcli embed")
            self.vectors = _map(path, archive)
            record = parse_json(str(_load(archive, KEY, LARGEST_DESCRIPTION)))
        super().__init__(path, from_json(record, str(path)), int(self.vectors.shape[-1]) if self.vectors.ndim else 0)
        self.check_shape()

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the array `names`, or the JSON text `names_json` that replaces a very wide array."""
        with own_error(VectorsError, str(self.path)), zipfile.ZipFile(self.path) as archive:
            if "names_json.npy" in archive.namelist():
                names = parse_json(_load(archive, "names_json", _LARGEST_NAMES).tobytes())
            else:
                names = _load(archive, "names", _LARGEST_NAMES).tolist()
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise DecodeError("its names are not texts")
            return names

    @cached_property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the JSON text `fields_json`."""
        if not self.info.columns:
            return ()
        with own_error(VectorsError, str(self.path)), zipfile.ZipFile(self.path) as archive:
            array = _load(archive, "fields_json", _LARGEST_NAMES)
        return read_fields(array, len(self.vectors), Restorer(self.info.columns), str(self.path))

    @cached_property
    def positions(self) -> Positions | None:
        """Return the array `positions`, or None."""
        with own_error(VectorsError, str(self.path)), zipfile.ZipFile(self.path) as archive:
            if "positions.npy" not in archive.namelist():
                return None
            positions = _load(archive, "positions", 8 * len(self.vectors) + 1024)
            if positions.shape != (len(self.vectors),) or positions.dtype.kind not in "iu":
                raise DecodeError("its positions are not one integer per row")
            return positions.astype(np.int64)


def _load(archive: zipfile.ZipFile, name: str, largest: int) -> npt.NDArray[Any]:
    """Return an array of at most `largest` unpacked bytes. Raises TooLargeError and NumPy's errors."""
    if archive.getinfo(f"{name}.npy").file_size > largest:
        raise TooLargeError(largest)
    with archive.open(f"{name}.npy") as stream:
        shape, _, dtype = _header(stream)
        if _bytes_of(shape, dtype) > largest:
            raise TooLargeError(largest)
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read_array_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read_array_header(stream)
    if dtype.hasobject or any(length < 0 for length in shape):
        raise DecodeError("not an array of numbers or texts")
    return shape, fortran, dtype


def _bytes_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _map(path: Path, archive: zipfile.ZipFile) -> npt.NDArray[np.floating]:
    member = archive.getinfo("vectors.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        return _load(archive, "vectors", max(_UNPACKED_ALWAYS, _MOST_UNPACKED * member.compress_size))
    with path.open("rb") as stream:
        stream.seek(member.header_offset)
        local = stream.read(_LOCAL_HEADER_BYTES)
        name_bytes, extra_bytes = struct.unpack("<HH", local[26:30])
        stream.seek(name_bytes + extra_bytes, 1)
        shape, fortran, dtype = _header(stream)
        if not math.prod(shape):
            return np.zeros((0, *shape[1:2]), dtype)
        return np.memmap(path, dtype, "r", stream.tell(), shape, "F" if fortran else "C")


class NpzWriter(VectorsWriter):
    """Writes the vectors first and uncompressed, so that they can be mapped."""

    def start(self) -> None:
        """Open the archive and the array of vectors."""
        self._index = VectorsIndex(self.stack, self.path.parent, fields=bool(self.plan.info.columns))
        self._archive = self.stack.enter_context(zipfile.ZipFile(self.target.stream, "w", allowZip64=True))
        member = self._archive.open(_member("vectors", zipfile.ZIP_STORED), "w", force_zip64=True)
        self._vectors = self.stack.enter_context(member)
        self._vectors.write(array_header(self.dtype, (self.plan.rows, self.plan.dim)))

    def write(self, rows: VectorRows) -> None:
        """Append the numbers."""
        self._index.add(rows)
        self._vectors.write(self.stored(rows).tobytes())

    def finish(self) -> None:
        """Write the other arrays and the archive's directory."""
        self._vectors.close()
        width = max(self._index.longest, 1)
        if self.plan.rows * width * 4 <= _NAMES_AS_ARRAY_LIMIT:
            dtype = np.dtype(f"<U{width}")
            self._add("names", dtype, self.plan.rows, (np.array(piece, dtype).tobytes() for piece in self._pieces()))
        else:
            size = sum(map(len, self._index.names_array()))
            self._add("names_json", np.dtype("u1"), size, self._index.names_array())
        if self.plan.info.columns:
            size = sum(map(len, self._index.fields_array()))
            self._add("fields_json", np.dtype("u1"), size, self._index.fields_array())
        if self.plan.info.shard is not None:
            positions = self._index.positions()
            self._add("positions", positions.dtype, len(positions), [positions.tobytes()])
        description = np.array(dumps(self.description()))
        self._add(KEY, description.dtype, None, [description.tobytes()])
        self._archive.close()

    def _add(self, name: str, dtype: np.dtype[Any], length: int | None, pieces: Iterable[bytes]) -> None:
        with self._archive.open(_member(name, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as stream:
            stream.write(array_header(dtype, () if length is None else (length,)))
            for piece in pieces:
                stream.write(piece)

    def _pieces(self) -> Iterator[list[str]]:
        names = self._index.names()
        while piece := list(islice(names, _NAMES_A_PIECE)):
            yield piece


def _member(name: str, compression: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
    member.compress_type = compression
    return member
