"""The corpus of a search: names and vectors of images and of vector files, as one sequence of rows read in blocks."""

from __future__ import annotations

import mmap
import os
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, overload

import numpy as np

from clipcli.core.vectors import unit_length
from clipcli.errors import VectorsError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.refs import NO_FIELDS
from clipcli.inputs.sources.text_tables import kept_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import numpy.typing as npt

    from clipcli.core.vectors import Vector, Vectors
    from clipcli.tasks.search.flat import Block, Rows, UnusableRowError
    from clipcli.vectorfiles import VectorFile


def slices(vectors: npt.NDArray[np.floating], rows: int) -> Iterator[tuple[int, Block]]:
    """Yield (number of the first row, at most `rows` rows); the pages of a slice are released when the next is read."""
    dtype = vectors.dtype if vectors.dtype == np.float16 else np.dtype(np.float32)
    _advise(vectors, 0, rows, "MADV_WILLNEED")
    for start in range(0, len(vectors), rows):
        stop = start + rows
        _advise(vectors, stop, stop + rows, "MADV_WILLNEED")  # a cold file is read twice as fast, a warm one as before
        yield start, np.asarray(vectors[start:stop], dtype)
        _advise(vectors, start, stop, "MADV_DONTNEED")  # they stay in the system's file cache


def _advise(vectors: npt.NDArray[np.floating], start: int, stop: int, advice: str) -> None:
    """Advise the system about the pages of these rows, if they are mapped from a file and the system has `madvise`."""
    pages = getattr(vectors, "_mmap", None)
    if not isinstance(vectors, np.memmap) or not isinstance(pages, mmap.mmap) or not hasattr(mmap, advice):
        return
    base, row = int(vectors.offset) % mmap.ALLOCATIONGRANULARITY, vectors.strides[0]
    first = (base + start * row) // mmap.PAGESIZE * mmap.PAGESIZE
    last = min((base + stop * row) // mmap.PAGESIZE * mmap.PAGESIZE, len(pages))
    if last > first:
        pages.madvise(getattr(mmap, advice), first, last - first)


_IN_MEMORY = 256 << 20
"""Bytes of image vectors that stay in memory; more go to a temporary file, so that memory is bounded."""
_NEW_BYTES = 8 << 20
_FEW = 8
"""With at most this many names, rows are filtered by `endswith`, which is faster than splitting a million paths."""


class Part(Protocol):
    """Rows of one source: the images of this run, or one vector file."""

    @property
    def names(self) -> Sequence[str]:
        """Return the name of each row."""
        ...

    def path(self, row: int) -> str:
        """Return the path that the operating system opens for a row."""
        ...

    def blocks(self, rows: int) -> Iterator[tuple[int, Block]]:
        """Yield (number of the first row, at most `rows` rows)."""
        ...

    def fields(self, row: int) -> Mapping[str, object]:
        """Return the columns of its table that a row keeps."""
        ...

    def description(self, row: int) -> str:
        """Return a row's description for messages."""
        ...


class ImagePart:
    """Images whose vectors came through the session."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.names: list[str] = []
        self.paths: list[str] = []
        self.digests: list[str] = []
        self._fields: dict[int, Mapping[str, object]] = {}
        self._new: list[Vector] = []
        self._blocks: list[Vectors] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - unnamed; closed and removed with this object
        self._in_file = 0

    def add(self, name: str, path: str, vector: Vector, digest: str, fields: Mapping[str, object] = NO_FIELDS) -> None:
        """Take one more image; `fields` are columns of its table."""
        if fields:
            self._fields[len(self.names)] = fields
        self.names.append(name)
        self.paths.append(path)
        self.digests.append(digest)
        self._new.append(vector)
        if len(self._new) * self.dim * 4 >= _NEW_BYTES:
            self._flush()

    def path(self, row: int) -> str:
        """Return the path as it was opened."""
        return self.paths[row]

    def fields(self, row: int) -> Mapping[str, object]:
        """Return the columns of the table that the image is a row of."""
        return self._fields.get(row, NO_FIELDS)

    def description(self, row: int) -> str:
        """Return the image's name."""
        return self.names[row]

    def blocks(self, rows: int) -> Iterator[tuple[int, Block]]:
        """Yield the vectors in the temporary file first."""
        self._flush()
        start = 0
        for array in self._arrays():
            for first, vectors in slices(array, rows):
                yield start + first, vectors
            start += len(array)

    def _arrays(self) -> Iterator[Vectors]:
        if self._in_file:
            self._file.flush()
            yield np.memmap(self._file, np.float32, "r", shape=(self._in_file, self.dim))
        yield from self._blocks

    def _flush(self) -> None:
        """Stack new vectors into a block; move the blocks to the temporary file when they exceed `_IN_MEMORY`."""
        if self._new:
            self._blocks.append(np.stack(self._new))
            self._new = []
        if sum(block.nbytes for block in self._blocks) > _IN_MEMORY:
            for block in self._blocks:
                self._file.write(block.tobytes())
                self._in_file += len(block)
            self._blocks = []


@dataclass(frozen=True)
class FilePart:
    """A vector file; nothing of it is kept in memory but its names."""

    file: VectorFile
    keep: Sequence[str] = ()
    """Carried columns that hits keep."""

    @property
    def names(self) -> Sequence[str]:
        """Return the names as they were written."""
        return self.file.names

    def path(self, row: int) -> str:
        """Return the path as written, or relative to the folder of the vector file if it exists only there."""
        name = self.names[row]
        beside = os.path.join(os.path.dirname(self.file.path), name)  # noqa: PTH118, PTH120 - any bytes included
        return beside if not os.path.exists(name) and os.path.exists(beside) else name  # noqa: PTH110

    def fields(self, row: int) -> Mapping[str, object]:
        """Return the kept columns of a row."""
        if not self.keep:
            return NO_FIELDS
        fields = self.file.fields[row]
        return {
            name: fields.get(name)
            for name in kept_columns(str(self.file.path), self.keep, list(fields), except_column="")
        }

    def description(self, row: int) -> str:
        """Return file, row and name."""
        return f"{self.file.path}: row {row} ({self.names[row]})"

    def blocks(self, rows: int) -> Iterator[tuple[int, Block]]:
        """Yield unit vectors; of a mapped file no more than one block is in memory."""
        mapped = getattr(self.file, "vectors", None)
        blocks = self.file.blocks(rows, check=False) if mapped is None else slices(mapped, rows)
        for start, vectors in blocks:
            yield start, vectors if self.file.info.unit_length else unit_length(vectors)


@dataclass(frozen=True)
class Corpus:
    """All parts of a search as one sequence of rows."""

    parts: Sequence[Part]
    dim: int
    kind: Literal["image", "text"] = "image"
    _starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Compute the number of the first row of each part."""
        total = 0
        for part in self.parts:
            self._starts.append(total)
            total += len(part.names)
        self._starts.append(total)

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def names(self) -> Sequence[str]:
        """Return the names of all rows, read from their parts."""
        return self.parts[0].names if len(self.parts) == 1 else _Names(self)

    def blocks(self, rows: int) -> Iterator[tuple[int, Block]]:
        """Yield all rows, at most `rows` at a time."""
        for start, part in zip(self._starts, self.parts, strict=False):
            for first, vectors in part.blocks(rows):
                yield start + first, vectors

    def take(self, rows: Rows, block_rows: int = 8192) -> Vectors:
        """Return the vectors of these rows, in their order: (rows, dim) float32; one pass over the corpus."""
        vectors = np.empty((len(rows), self.dim), np.float32)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        for start, block in self.blocks(block_rows):
            first, last = np.searchsorted(ordered, (start, start + len(block)))
            vectors[order[first:last]] = block[ordered[first:last] - start]
        return vectors

    def locate(self, row: int) -> tuple[Part, int]:
        """Return the part that a row is in, and its number in that part."""
        part = bisect_right(self._starts, row) - 1
        while not len(self.parts[part].names):
            part -= 1
        return self.parts[part], row - self._starts[part]

    def name(self, row: int) -> str:
        """Return the name of a row."""
        part, part_row = self.locate(row)
        return part.names[part_row]

    def path(self, row: int) -> str:
        """Return the path that the operating system opens for a row."""
        part, part_row = self.locate(row)
        return part.path(part_row)

    def fields(self, row: int) -> Mapping[str, object]:
        """Return the columns of the table that a row came from."""
        part, part_row = self.locate(row)
        return part.fields(part_row)

    def is_far(self, row: int) -> bool:
        """Return whether a row is a URL that a vector file names."""
        part, part_row = self.locate(row)
        return not isinstance(part, ImagePart) and is_url(part.path(part_row))

    def refusal(self, error: UnusableRowError) -> VectorsError:
        """Return the error for an unusable row, with the file and the row's number and name."""
        part, part_row = self.locate(error.row)
        return VectorsError(
            f"{part.description(part_row)} {error.reason}", hint="make the file again with clipcli embed"
        )


class _Names(Sequence[str]):
    """The names of all parts as one sequence, without a copy."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def __len__(self) -> int:
        return len(self.corpus)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> list[str]: ...

    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self.corpus.name(each) for each in range(*row.indices(len(self)))]
        return self.corpus.name(row)

    def __iter__(self) -> Iterator[str]:
        return (name for part in self.corpus.parts for name in part.names)


def rows_by_path(names: Iterable[str], paths: Collection[str]) -> dict[str, list[int]]:
    """Return, for each of `paths`, the rows whose name is the same file.

    One pass over the names; absolute paths are computed only where base names are equal.
    """
    by_base_name: dict[str, list[tuple[str, str]]] = {}
    for path in paths:
        by_base_name.setdefault(os.path.basename(path), []).append((path, _absolute(path)))  # noqa: PTH119
    suffixes = tuple(by_base_name) if len(by_base_name) <= _FEW else ("",)
    rows: dict[str, list[int]] = {path: [] for path in paths}
    for row, name in enumerate(names if rows else ()):
        if name.endswith(suffixes):
            for path, absolute in by_base_name.get(os.path.basename(name), ()):  # noqa: PTH119
                if _absolute(name) == absolute:
                    rows[path].append(row)
    return rows


def _absolute(path: str) -> str:
    return os.path.normcase(os.path.abspath(path))  # noqa: PTH100
