"""Read a folder of Parquet parts, local or remote, as one file, one row group at a time.

The parts that `embed` wrote (with `--shard`, or by one run per day) can be searched without merging. They are ordered
by name; a pattern such as `vectors/part-*.parquet` selects some of them.
"""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, TypeVar

from clipcli.core.redaction import redact
from clipcli.errors import ImageError, VectorsError
from clipcli.inputs.sources.expand import list_folder
from clipcli.inputs.sources.filesystems import is_url, scheme
from clipcli.inputs.sources.patterns import match
from clipcli.inputs.sources.refs import SHARDS, is_image_name
from clipcli.vectorfiles.columns import ColumnTypes
from clipcli.vectorfiles.info import DescribedVectors
from clipcli.vectorfiles.parquet_file import ParquetFile
from clipcli.vectorfiles.vector_file import VectorFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.vectorfiles.info import Failure, VectorRows, VectorsInfo

_SUFFIXES: Final = (".parquet", ".pq")
_BESIDE: Final = (".errors.jsonl", ".json", ".crc")
"""Other files that are allowed beside parts."""
_OPENED_AT_ONCE: Final = 16
_OPEN_PARTS: Final = 8
_GROUPS: Final = 256
"""Row groups whose names are cached: two million names in files of `embed`."""
_PARTS: Final = "the folder must hold Parquet files of clipcli embed and nothing else"


def parts_of(location: str) -> list[str]:
    """Return the parts of a data set, in order; empty if it is not a data set.

    Args:
        location: a folder or URL with Parquet files only, possibly in subfolders such as `day=3`; or a pattern of
            Parquet files with `*` or `{0..9}`.

    Raises:
        VectorsError: a pattern cannot be looked up.
    """
    if location.lower().endswith(_SUFFIXES):
        try:
            return sorted(match(location)) if not os.path.exists(location) else []  # noqa: PTH110 - any bytes
        except ImageError as error:
            raise VectorsError(f"{redact(location)}: {error.reason}", hint=_PARTS) from error
    plain = is_image_name(location) or location.lower().endswith(SHARDS)
    if is_url(location) and (plain or (scheme(location) in {"http", "https"} and not location.endswith("/"))):
        return []  # a file, so no request is needed
    try:
        files = list(_below(location))
    except (ImageError, OSError):
        return []
    return sorted(files) if files and all(name.lower().endswith(_SUFFIXES) for name in files) else []


def no_parts(location: str) -> VectorsError:
    """Return the error for a folder or URL that is not a data set."""
    reason = "holds no parts"
    try:
        next(iter(list_folder(location)), None)
    except ImageError as error:
        reason = error.reason
    return VectorsError(f"{redact(location)}: {reason}", hint=_PARTS)


def _below(folder: str) -> Iterator[str]:
    """Yield the files below a folder, up to the first that does not belong into a data set."""
    for name, is_folder in list_folder(folder):
        last = posixpath.basename(name.rstrip("/"))
        if last.startswith((".", "_")) or last.endswith(_BESIDE):
            continue
        if is_folder and "=" in last:
            yield from _below(name)
        else:
            yield name
            if is_folder or not last.lower().endswith(_SUFFIXES):
                return


@dataclass(frozen=True)
class _Head:
    """The content of a part's footer."""

    info: VectorsInfo
    dim: int
    groups: tuple[int, ...]
    """Number of rows of each row group."""


class ParquetDataset(VectorFile):
    """Parts with vectors of one model, as one file."""

    def __init__(self, location: str, parts: Sequence[str]) -> None:
        self.parts = parts
        self._open = lru_cache(maxsize=_OPEN_PARTS)(ParquetFile)
        with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
            self._heads = list(pool.map(_head, parts))
        for part, head in zip(parts, self._heads, strict=True):
            _check_alike(part, head, parts[0], self._heads[0])
        self._starts = [0, *accumulate(sum(head.groups) for head in self._heads)]
        super().__init__(redact(location), replace(self._heads[0].info, shard=None), self._heads[0].dim)
        types = ColumnTypes()
        for head in self._heads:
            types.merge(head.info.columns)
        self.info = replace(self.info, columns=types.columns)
        self._names: Sequence[str] = _Rows(self, self.names_of)

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def names(self) -> Sequence[str]:
        """Return the names, looked up in the parts."""
        return self._names

    @property
    def failures(self) -> Sequence[Failure]:
        """Return the failures of all parts."""
        return [lost for part in self.parts for lost in self._open(part).failures]

    @property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the carried columns, looked up in the parts."""
        return _Rows(self, self.fields_of) if self.info.columns else ()

    def field_blocks(self, columns: Sequence[str], rows: int = 8192) -> Iterator[Sequence[Mapping[str, object]]]:
        """Yield these columns of all rows, part by part; a part that lacks one has no values in it."""
        for part in self.parts:
            file = self._open(part)
            own = [column.name for column in file.info.columns if column.name in columns]
            yield from file.field_blocks(own, rows) if own else [[{}] * len(file)]

    def read(self, rows: int, *, fields: bool = False) -> Iterator[VectorRows]:
        """Yield the rows part by part."""
        for part in self.parts:
            for block in self._open(part).read(rows, fields=fields):
                yield replace(block, positions=None)

    def group_of(self, row: int) -> tuple[int, int, int]:
        """Return the part of a row, its row group, and its number in the row group."""
        part = bisect_right(self._starts, row) - 1
        row_in_part = row - self._starts[part]
        for group, count in enumerate(self._heads[part].groups):
            if row_in_part < count:
                return part, group, row_in_part
            row_in_part -= count
        raise IndexError(row)

    def groups(self) -> Iterator[tuple[int, int]]:
        """Return all pairs of part and row group, in order."""
        return ((part, group) for part, head in enumerate(self._heads) for group in range(len(head.groups)))

    def names_of(self, part: int, group: int) -> Sequence[str]:
        """Return the names of a row group."""
        return self._open(self.parts[part]).group_names(group)

    def fields_of(self, part: int, group: int) -> Sequence[Mapping[str, object]]:
        """Return the carried columns of a row group."""
        file = self._open(self.parts[part])
        return file.group_fields(group) if file.info.columns else [{}] * file.group_rows[group]


Item = TypeVar("Item")


class _Rows(Sequence[Item]):
    """The names or the carried columns of all parts, loaded per row group."""

    def __init__(self, dataset: ParquetDataset, load: Callable[[int, int], Sequence[Item]]) -> None:
        self.dataset = dataset
        self._recent = lru_cache(maxsize=_GROUPS)(load)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: Any) -> Any:  # Sequence's overloads
        if isinstance(row, slice):
            return [self[index] for index in range(len(self))[row]]
        if not 0 <= row < len(self.dataset):
            raise IndexError(row)
        part, group, row_in_group = self.dataset.group_of(row)
        return self._recent(part, group)[row_in_group]

    def __iter__(self) -> Iterator[Item]:
        return (item for part, group in self.dataset.groups() for item in self._recent(part, group))


def _head(part: str) -> _Head:
    file = ParquetFile(part)
    return _Head(file.info, file.dim, file.group_rows)


def _check_alike(part: str, head: _Head, first: str, first_head: _Head) -> None:
    described, first_described = (
        DescribedVectors(redact(path), footer.info, footer.dim) for path, footer in ((part, head), (first, first_head))
    )
    described.require_like(first_described)
