"""Look up names in a JSON array with one name per line, without reading the whole array.

A million names are 27 MB of JSON and a million Python strings, of which a search shows ten. The writers end every name
with a newline, which JSON does not allow inside a string, so each line is one name. Other layouts are parsed whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast, overload

import numpy as np

from clipcli.core.decode import parse_json
from clipcli.core.files import own_error
from clipcli.errors import VectorsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

_LINE_END = 10
_FEW = 4096
"""Most names that are read one by one; beyond that, parsing the whole array is faster."""


def read_names(array: npt.NDArray[np.uint8], rows: int, source: str) -> Sequence[str]:
    """Return the names in the bytes of a JSON array with `rows` items; `source` names the file in errors.

    Raises:
        VectorsError: not a JSON array of texts; an array in lines is checked when a name is looked up.
    """
    if len(array) > 2 and array[0] == ord("[") and array[-1] == ord("]"):  # noqa: PLR2004 - the two brackets
        ends = np.flatnonzero(array == _LINE_END)
        if len(ends) + 1 == rows:
            return Names(array, ends, source)
    return _parsed(array.tobytes(), source)


class Names(Sequence[str]):
    """Names by row; looking up a damaged name raises VectorsError."""

    def __init__(self, array: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], source: str) -> None:
        self._source = source
        self._array = array
        self._ends = ends
        """Offsets of the newlines, between names."""
        self._looked_up = 0

    def __len__(self) -> int:
        return len(self._ends) + 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        if isinstance(row, slice):
            indices = range(len(self))[row]
            return self._all[row] if len(indices) > _FEW else [self[index] for index in indices]
        self._looked_up += 1
        if self._looked_up > _FEW:
            return self._all[row]
        index = range(len(self))[row]
        first = int(self._ends[index - 1]) + 1 if index else 1
        last = int(self._ends[index]) if index < len(self._ends) else len(self._array) - 1
        names = _parsed(b"[%s]" % self._array[first:last].tobytes().rstrip(b" \r,"), self._source)
        if len(names) != 1:
            raise VectorsError(f"{self._source}: its names are damaged (at row {index})")
        return names[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _all(self) -> list[str]:
        return _parsed(self._array.tobytes(), self._source)


def _parsed(text: bytes, source: str) -> list[str]:
    with own_error(VectorsError, source, what="its names are damaged"):
        names = parse_json(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise VectorsError(f"{source}: its names are not texts")
    return cast("list[str]", names)
