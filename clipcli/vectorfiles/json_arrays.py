"""Look up names and carried columns in a JSON array with one row per line, without reading the whole array.

A million names are 27 MB of JSON and a million Python strings, of which a search shows ten. The writers end every row
with a newline, which JSON does not allow inside a string, so each line is one row. Other layouts are parsed whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar, cast, overload

import numpy as np

from clipcli.core.decode import parse_json
from clipcli.core.files import own_error
from clipcli.errors import VectorsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from clipcli.vectorfiles.columns import Restorer

Item = TypeVar("Item")
_LINE_END = 10
_FEW = 4096
"""Most rows that are read one by one; beyond that, parsing the whole array is faster."""
_BYTES_AT_ONCE = 1 << 24
_ROWS_AT_ONCE = 1 << 14


def read_names(array: npt.NDArray[np.uint8], rows: int, source: str) -> Sequence[str]:
    """Return the names in the bytes of a JSON array with `rows` items; `source` names the file in errors.

    Raises:
        VectorsError: not a JSON array of texts; an array in lines is checked when a name is looked up.
    """
    return _read(array, rows, lambda text: _parsed_names(text, source))


def read_fields(
    array: npt.NDArray[np.uint8], rows: int, restorer: Restorer, source: str
) -> Sequence[Mapping[str, object]]:
    """Return the carried columns in the bytes of a JSON array with `rows` objects; `source` names the file in errors.

    Raises:
        VectorsError: not a JSON array of objects; an array in lines is checked when a row is looked up.
    """
    fields = _read(array, rows, lambda text: _parsed_fields(text, restorer, source))
    if len(fields) != rows:
        raise VectorsError(f"{source}: {rows} vectors but {len(fields)} rows of carried columns")
    return fields


def restored(items: object, restorer: Restorer, source: str) -> list[Mapping[str, object]]:
    """Return decoded JSON objects as rows with the right types. Raises VectorsError."""
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise VectorsError(f"{source}: its carried columns are damaged")
    with own_error(VectorsError, source, what="its carried columns are damaged"):
        return [restorer.fields(item) for item in items]


def _read(array: npt.NDArray[np.uint8], rows: int, parse: Callable[[bytes], list[Item]]) -> Sequence[Item]:
    if len(array) > 2 and array[0] == ord("[") and array[-1] == ord("]"):  # noqa: PLR2004 - the two brackets
        steps = range(0, len(array), _BYTES_AT_ONCE)
        ends = np.concatenate([at + np.flatnonzero(array[at : at + _BYTES_AT_ONCE] == _LINE_END) for at in steps])
        if len(ends) + 1 == rows:
            return JsonArray(array, ends, parse)
    return parse(array.tobytes())


class JsonArray(Sequence[Item], Generic[Item]):
    """Items by row; looking up a damaged one raises VectorsError."""

    def __init__(
        self, array: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], parse: Callable[[bytes], list[Item]]
    ) -> None:
        self._array = array
        self._ends = ends
        """Offsets of the newlines, between items."""
        self._parse = parse
        self._looked_up = 0

    def __len__(self) -> int:
        return len(self._ends) + 1

    @overload
    def __getitem__(self, row: int) -> Item: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[Item]: ...

    def __getitem__(self, row: int | slice) -> Item | Sequence[Item]:
        if isinstance(row, slice):
            rows = range(len(self))[row]
            if "_all" in self.__dict__ or rows.step != 1:
                return self._all[row]
            return self._between(rows.start, rows.stop)
        self._looked_up += 1
        if self._looked_up > _FEW:
            return self._all[row]
        index = range(len(self))[row]
        return self._between(index, index + 1)[0]

    def _between(self, start: int, stop: int) -> list[Item]:
        """Parse the lines of some rows."""
        if start >= stop:
            return []
        first = int(self._ends[start - 1]) + 1 if start else 1
        last = int(self._ends[stop - 1]) if stop <= len(self._ends) else len(self._array) - 1
        items = self._parse(b"[%s]" % self._array[first:last].tobytes().rstrip(b" \r,"))
        if len(items) != stop - start:
            self._parse(b"[")  # says that it is damaged
        return items

    def __iter__(self) -> Iterator[Item]:
        if "_all" in self.__dict__:
            yield from self._all
        else:
            for start in range(0, len(self), _ROWS_AT_ONCE):
                yield from self._between(start, min(start + _ROWS_AT_ONCE, len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _all(self) -> list[Item]:
        return self._parse(self._array.tobytes())


def _parsed_names(text: bytes, source: str) -> list[str]:
    with own_error(VectorsError, source, what="its names are damaged"):
        names = parse_json(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise VectorsError(f"{source}: its names are not texts")
    return cast("list[str]", names)


def _parsed_fields(text: bytes, restorer: Restorer, source: str) -> list[Mapping[str, object]]:
    with own_error(VectorsError, source, what="its carried columns are damaged"):
        items = parse_json(text)
    return restored(items, restorer, source)
