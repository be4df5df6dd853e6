"""`OUT.npz`: arrays `vectors`, `names`, `positions` (in shards) and `clipcli`, the description as JSON text."""

from __future__ import annotations

import json
import struct
import zipfile
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clipcli.errors import VectorsError
from clipcli.output.json_lines import dumps
from clipcli.vectorfiles.info import KEY, from_json
from clipcli.vectorfiles.npy import MappedFile, array_header
from clipcli.vectorfiles.writer import Index, VectorsWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.vectorfiles.info import Positions, VectorRows

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same rows give the same bytes, whatever the day
_NAMES_AS_ARRAY_LIMIT = 2**30  # numpy pads every name to the longest; beyond this many bytes they stand as JSON text
_NAMES_A_PIECE = 1000
_LOCAL_HEADER_BYTES = 30


class NpzFile(MappedFile):
    """The vectors are mapped where they lie in the archive, if they are not compressed."""

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                missing = {"vectors.npy", f"{KEY}.npy"} - set(archive.namelist())
                if missing:
                    names = ", ".join(sorted(name.removesuffix(".npy") for name in missing))
                    raise VectorsError(f"{path}: has no array {names}", hint="make it with clipcli embed")
                self.vectors = _map(path, archive.getinfo("vectors.npy"))
                record = json.loads(str(_load(archive, KEY)))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, struct.error) as error:
            raise VectorsError(f"{path}: damaged ({error})") from error
        super().__init__(path, from_json(record, str(path)), int(self.vectors.shape[-1]) if self.vectors.ndim else 0)
        self.check_shape()

    @cached_property
    def names(self) -> Sequence[str]:
        """The array `names`, or the JSON text `names_json` when that would have been too wide."""
        with zipfile.ZipFile(self.path) as archive:
            if "names_json.npy" in archive.namelist():
                return cast("list[str]", json.loads(_load(archive, "names_json").tobytes()))
            return cast("list[str]", _load(archive, "names").tolist())

    @cached_property
    def positions(self) -> Positions | None:
        """The array `positions`."""
        with zipfile.ZipFile(self.path) as archive:
            return _load(archive, "positions") if "positions.npy" in archive.namelist() else None


def _load(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _map(path: Path, member: zipfile.ZipInfo) -> npt.NDArray[np.floating]:
    if member.compress_type != zipfile.ZIP_STORED:
        with zipfile.ZipFile(path) as archive:
            return _load(archive, "vectors")
    with path.open("rb") as stream:
        stream.seek(member.header_offset)
        local = stream.read(_LOCAL_HEADER_BYTES)
        name_bytes, extra_bytes = struct.unpack("<HH", local[26:30])
        stream.seek(name_bytes + extra_bytes, 1)
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if not np.prod(shape):
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype, "r", stream.tell(), shape, "F" if fortran else "C")


class NpzWriter(VectorsWriter):
    """The vectors stand first and are not compressed, so that they can be mapped."""

    def start(self) -> None:
        """Open the archive and the array in it."""
        self._index = Index(self.stack, self.path.parent)
        self._archive = self.stack.enter_context(zipfile.ZipFile(self.target.stream, "w", allowZip64=True))
        member = self._archive.open(_member("vectors", zipfile.ZIP_STORED), "w", force_zip64=True)
        self._vectors = self.stack.enter_context(member)
        self._vectors.write(array_header(self.dtype, (self.plan.rows, self.plan.dim)))

    def write(self, rows: VectorRows) -> None:
        """Append the numbers."""
        self._index.add(rows)
        self._vectors.write(self.stored(rows).tobytes())

    def finish(self) -> None:
        """Add the other arrays and the archive's table."""
        self._vectors.close()
        width = max(self._index.longest, 1)
        if self.plan.rows * width * 4 <= _NAMES_AS_ARRAY_LIMIT:
            dtype = np.dtype(f"<U{width}")
            self._add("names", dtype, self.plan.rows, (np.array(some, dtype).tobytes() for some in self._pieces()))
        else:
            size = sum(map(len, self._index.json_array()))
            self._add("names_json", np.dtype("u1"), size, self._index.json_array())
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
        while some := list(islice(names, _NAMES_A_PIECE)):
            yield some


def _member(name: str, compression: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
    member.compress_type = compression
    return member
