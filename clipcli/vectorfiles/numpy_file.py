"""NumPy files of vectors: npy, with the description and the names in `OUT.npy.json`, and npz.

An npz file holds the arrays `vectors`, `names`, `positions` (in shards) and `clipcli`, the description as JSON text.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import struct
import zipfile
import zlib
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from clipcli.core.decode import DecodeError, parse_json
from clipcli.core.files import TooLargeError, is_there, own_error
from clipcli.errors import VectorsError
from clipcli.output.rows import dumps
from clipcli.vectorfiles.columns import Restorer
from clipcli.vectorfiles.info import KEY, VectorRows, from_json
from clipcli.vectorfiles.json_arrays import read_fields, read_names, restored
from clipcli.vectorfiles.vector_file import LARGEST_DESCRIPTION, MappedFile, description_path
from clipcli.vectorfiles.writer import VectorsIndex, VectorsWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.vectorfiles.info import Positions


_NAMES_KEY = b'"names": ['
_FIELDS_KEY = b'"fields": ['
_MAGIC = b"\x93NUMPY"
_LARGEST_WHOLE = 1 << 30
"""Limit in bytes of a description that another program rewrote, so that all of it must be parsed."""


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
            self._record, self._listed, self._carried = _read_description(beside)
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


def _read_description(
    beside: Path,
) -> tuple[dict[str, Any], npt.NDArray[np.uint8] | None, npt.NDArray[np.uint8] | None]:
    """Return the description, and the bytes of its names and carried columns if they come last, as clipcli writes them.

    The keys are searched for from the side on which no text of the user can hold them: inside a JSON string, quotes
    are escaped.
    """
    with beside.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        names, last = text.rfind(_NAMES_KEY) + len(_NAMES_KEY) - 1, text.rfind(b"]") + 1
        if len(_NAMES_KEY) <= names + 1 <= last and text[last:].strip() == b"}":
            key = names - len(_NAMES_KEY) + 1
            start = text.find(_FIELDS_KEY, 0, key) + len(_FIELDS_KEY) - 1
            stop = text.rfind(b"]", start, key) + 1
            has_fields = len(_FIELDS_KEY) <= start + 1 < stop and text[stop:key].strip() == b","
            with suppress(DecodeError):
                record = _json_object(text[: start if has_fields else names] + b"[]}")
                fields = _mapped_bytes(beside, start, stop) if has_fields else None
                return record, _mapped_bytes(beside, names, last), fields
        if len(text) > _LARGEST_WHOLE:
            raise TooLargeError(_LARGEST_WHOLE)
        return _json_object(text[:]), None, None


def _mapped_bytes(file: Path, start: int, stop: int) -> npt.NDArray[np.uint8]:
    return np.memmap(file, np.uint8, "r", start, (stop - start,))


def _json_object(text: bytes) -> dict[str, Any]:
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


_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the same rows give the same bytes
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
            self.vectors = _mapped(path, archive)
            record = parse_json(str(_load_array(archive, KEY, LARGEST_DESCRIPTION)))
        super().__init__(path, from_json(record, str(path)), int(self.vectors.shape[-1]) if self.vectors.ndim else 0)
        self.check_shape()

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the array `names`, or the JSON text `names_json` that replaces a very wide array."""
        with own_error(VectorsError, str(self.path)), zipfile.ZipFile(self.path) as archive:
            if "names_json.npy" in archive.namelist():
                names = parse_json(_load_array(archive, "names_json", _LARGEST_NAMES).tobytes())
            else:
                names = _load_array(archive, "names", _LARGEST_NAMES).tolist()
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise DecodeError("its names are not texts")
            return names

    @cached_property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the JSON text `fields_json`."""
        if not self.info.columns:
            return ()
        with own_error(VectorsError, str(self.path)), zipfile.ZipFile(self.path) as archive:
            array = _load_array(archive, "fields_json", _LARGEST_NAMES)
        return read_fields(array, len(self.vectors), Restorer(self.info.columns), str(self.path))

    @cached_property
    def positions(self) -> Positions | None:
        """Return the array `positions`, or None."""
        with own_error(VectorsError, str(self.path)), zipfile.ZipFile(self.path) as archive:
            if "positions.npy" not in archive.namelist():
                return None
            positions = _load_array(archive, "positions", 8 * len(self.vectors) + 1024)
            if positions.shape != (len(self.vectors),) or positions.dtype.kind not in "iu":
                raise DecodeError("its positions are not one integer per row")
            return positions.astype(np.int64)


def _load_array(archive: zipfile.ZipFile, name: str, largest: int) -> npt.NDArray[Any]:
    """Return an array of at most `largest` unpacked bytes. Raises TooLargeError and NumPy's errors."""
    if archive.getinfo(f"{name}.npy").file_size > largest:
        raise TooLargeError(largest)
    with archive.open(f"{name}.npy") as stream:
        shape, _, dtype = _read_array_header(stream)
        if _size_of(shape, dtype) > largest:
            raise TooLargeError(largest)
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _read_array_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read_array_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read_array_header(stream)
    if dtype.hasobject or any(length < 0 for length in shape):
        raise DecodeError("not an array of numbers or texts")
    return shape, fortran, dtype


def _size_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _mapped(path: Path, archive: zipfile.ZipFile) -> npt.NDArray[np.floating]:
    member = archive.getinfo("vectors.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        return _load_array(archive, "vectors", max(_UNPACKED_ALWAYS, _MOST_UNPACKED * member.compress_size))
    with path.open("rb") as stream:
        stream.seek(member.header_offset)
        local = stream.read(_LOCAL_HEADER_BYTES)
        name_bytes, extra_bytes = struct.unpack("<HH", local[26:30])
        stream.seek(name_bytes + extra_bytes, 1)
        shape, fortran, dtype = _read_array_header(stream)
        if not math.prod(shape):
            return np.zeros((0, *shape[1:2]), dtype)
        return np.memmap(path, dtype, "r", stream.tell(), shape, "F" if fortran else "C")


class NpzWriter(VectorsWriter):
    """Writes the vectors first and uncompressed, so that they can be mapped."""

    def start(self) -> None:
        """Open the archive and the array of vectors."""
        self._index = VectorsIndex(self.stack, self.path.parent, fields=bool(self.plan.info.columns))
        self._archive = self.stack.enter_context(zipfile.ZipFile(self.target.stream, "w", allowZip64=True))
        member = self._archive.open(_zip_member("vectors", zipfile.ZIP_STORED), "w", force_zip64=True)
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
        with self._archive.open(_zip_member(name, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as stream:
            stream.write(array_header(dtype, () if length is None else (length,)))
            for piece in pieces:
                stream.write(piece)

    def _pieces(self) -> Iterator[list[str]]:
        names = self._index.names()
        while piece := list(islice(names, _NAMES_A_PIECE)):
            yield piece


def _zip_member(name: str, compression: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
    member.compress_type = compression
    return member
