"""Patterns become names: braces everywhere, `*` in URLs and in names of shards and tables."""

from __future__ import annotations

import glob
import math
import os
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError
from clipcli.inputs.sources.fetch import attempt
from clipcli.inputs.sources.filesystems import file_system, is_url, scheme
from clipcli.inputs.sources.refs import ImageRef
from clipcli.inputs.sources.suffixes import PACKED, SHARDS, TABLES, has_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_NAMES: Final = 10_000_000
"""A pattern that stands for more is a mistake, or made to keep a machine busy."""
MOST_GROUPS: Final = 16
_MOST_DIGITS: Final = 18
_RANGE: Final = re.compile(r"(\d{1,18})\.\.(\d{1,18})", re.ASCII)
_DIGITS: Final = re.compile(r"\d+\.\.\d+", re.ASCII)


@dataclass(frozen=True)
class _Group:
    """One pair of braces: its place in the text, and what it stands for."""

    start: int
    stop: int
    pieces: Sequence[str] | range
    width: int = 0
    """Digits of padded numbers."""

    def __iter__(self) -> Iterator[str]:
        return (f"{piece:0{self.width}d}" if isinstance(piece, int) else piece for piece in self.pieces)


def has_braces(text: str) -> bool:
    """Return whether the text stands for several."""
    return next(_groups(text), None) is not None


def too_many(text: str) -> str | None:
    """Say why a text stands for more names than are looked for; None when it does not."""
    if any(_DIGITS.fullmatch(inner) and not _RANGE.fullmatch(inner) for _, _, inner in _pairs(text)):
        return f"a number in braces has more than {_MOST_DIGITS} digits"
    groups = list(_groups(text))
    if len(groups) > MOST_GROUPS:
        return f"more than {MOST_GROUPS} pairs of braces"
    return (
        f"this pattern stands for more than {MOST_NAMES:,} names"
        if math.prod(_length(group.pieces) for group in groups) > MOST_NAMES
        else None
    )


def expand_braces(text: str) -> Iterator[str]:
    """Return all that a text stands for, in order; numbers keep their leading zeros. A text without braces is itself.

    Whether that comes to an end `too_many` says.
    """
    return _expand(text, list(_groups(text)))


def _expand(text: str, groups: Sequence[_Group]) -> Iterator[str]:
    if not groups:
        yield text
        return
    first, *others = groups
    for piece in first:
        for rest in _expand(text[first.stop :], [_moved(group, first.stop) for group in others]):
            yield text[: first.start] + piece + rest


def _moved(group: _Group, by: int) -> _Group:
    return _Group(group.start - by, group.stop - by, group.pieces, group.width)


def _length(pieces: Sequence[str] | range) -> int:
    """Also of a range that is longer than `len` can say."""
    return abs(pieces.stop - pieces.start) if isinstance(pieces, range) else len(pieces)


def _pairs(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and content of braces that hold no other braces, in one pass."""
    start = -1
    for place in (match.start() for match in re.finditer(r"[{}]", text)):
        if text[place] == "{":
            start = place
        elif start >= 0:
            yield start, place + 1, text[start + 1 : place]
            start = -1


def _groups(text: str) -> Iterator[_Group]:
    for start, stop, inner in _pairs(text):
        if numbers := _RANGE.fullmatch(inner):
            first, last = int(numbers[1]), int(numbers[2])
            padded = any(len(word) > 1 and word.startswith("0") for word in numbers.groups())
            width = max(map(len, numbers.groups())) if padded else 0
            step = 1 if first <= last else -1
            yield _Group(start, stop, range(first, last + step, step), width)
        elif "," in inner:
            yield _Group(start, stop, inner.split(","))


_LOOKED_FOR_NEAR, _LOOKED_FOR_FAR = 100_000, 1000
"""Names of a pattern that are looked for at most before it counts as matching nothing."""
_MOST_WILD: Final = 32
_MOST_DEEP: Final = 2
_NOTHING: Final = "nothing matches this pattern"


def names_of(pattern: str) -> Iterator[str | ImageRef]:
    """Yield the files and URLs that a pattern stands for, in order; what is no pattern stands for itself.

    In the place of what stands for nothing, or cannot be looked up, comes a reference that says so.
    """
    if problem := too_many(pattern) or too_wild(pattern) or (_why_barren(pattern) if has_braces(pattern) else None):
        yield ImageRef(pattern, redact_url(pattern), problem)
        return
    for name in expand_braces(pattern):
        if _is_glob(name):
            yield from _found(name)
        else:
            yield name


def too_wild(name: str) -> str | None:
    """Say why a pattern would be looked for without an end; None when it would not."""
    return _wildness(name) if _is_glob(name) else None


def _wildness(name: str) -> str | None:
    if name.count("**") > _MOST_DEEP or sum(map(name.count, "*?[")) > _MOST_WILD:
        return f"more than {_MOST_WILD} wildcards, or ** more than {_MOST_DEEP} times"
    return None


def match(pattern: str) -> list[str]:
    """Files and URLs that a pattern names and that are there; empty for what is no pattern, or matches nothing.

    Raises:
        ImageError: it cannot be looked up.
    """
    found: list[str] = []
    if problem := too_many(pattern) or too_wild(pattern):
        raise ImageError("read", problem)
    for name in expand_braces(pattern):
        if _is_glob(name):
            found += _glob(name)
        elif name != pattern and _exists(name):
            found.append(name)
    return found


def is_local_pattern(argument: str) -> bool:
    """Return whether an argument is a pattern of local files: what is there under this very name is none."""
    return (
        has_magic(argument)
        and not is_url(argument)
        and not has_suffix(argument, (*SHARDS, *PACKED, *TABLES))
        and not os.path.lexists(argument)
    )


def named_files(arguments: Sequence[str]) -> list[str]:
    """Arguments, with the files and folders in the place of each pattern of local files that stands for some."""
    names: list[str] = []
    for argument in arguments:
        found = list(local_names(argument)) if is_local_pattern(argument) else []
        names += [name for name in found if isinstance(name, str)] or [argument]
    return names


def local_names(pattern: str) -> Iterator[str | ImageRef]:
    """The files and folders that a pattern of local files stands for, sorted; a reference that says so where none is.

    As in a shell, names that begin with a dot have to be named with it; `**` stands for any number of folders.
    """
    if problem := too_many(pattern) or _wildness(pattern):
        yield ImageRef(pattern, pattern, problem)
        return
    empty = True
    for each in expand_braces(pattern):
        for name in _glob(each) if has_magic(each) else [each]:
            empty = False
            yield name
    if empty:
        yield ImageRef(pattern, pattern, _NOTHING)


def has_magic(name: str) -> bool:
    """`*`, `[` and `?`; a question mark begins a query on the web."""
    special = "*[" if scheme(name) in {"http", "https"} else "*[?"
    return any(character in name for character in special)


def full_url(system: Any, url: str, path: str) -> str:
    """Return a path of a file system as the URL that reads it, written as the user wrote the one it was found by."""
    if is_url(path):
        return path
    own, base = str(system._strip_protocol(url)).rstrip("/"), url.rstrip("/")  # noqa: SLF001 - fsspec's way to ask for a path
    return base.removesuffix(own) + path if own and base.endswith(own) else str(system.unstrip_protocol(path))


def _is_glob(name: str) -> bool:
    """Names of plain local files are left to the shell."""
    if is_url(name):
        return has_magic(name)
    return has_magic(name) and has_suffix(name, (*SHARDS, *PACKED, *TABLES)) and not os.path.lexists(name)


def _found(name: str) -> Iterator[str | ImageRef]:
    try:
        found = _glob(name)
    except ImageError as error:
        yield ImageRef(name, redact_url(name), error.reason)
        return
    yield from found
    if not found:
        yield ImageRef(name, redact_url(name), _NOTHING)


def _glob(name: str) -> list[str]:
    """Files, not folders, sorted."""
    if not is_url(name):
        return sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - any bytes
    system, path = file_system(name)
    matches = attempt(lambda: system.glob(path, detail=True)).items()
    return sorted(full_url(system, name, str(one)) for one, info in matches if info.get("type") != "directory")


def _why_barren(pattern: str) -> str | None:
    """Return why braces stand for nothing; None where one name at least is there."""
    most = _LOOKED_FOR_FAR if is_url(pattern) else _LOOKED_FOR_NEAR
    if any(map(_exists, islice(expand_braces(pattern), most))):
        return None
    more = next(islice(expand_braces(pattern), most, None), None)
    return _NOTHING if more is None else f"none of the first {most:,} names of this pattern is there"


def _exists(name: str) -> bool:
    """Return whether a name is there, or may be: what else is wrong its own row will say."""
    if not is_url(name):
        return os.path.exists(name) or (_is_glob(name) and bool(_glob(name)))  # noqa: PTH110 - any bytes
    if has_magic(name):
        return True
    try:
        system, path = file_system(name)
        attempt(lambda: system.info(path))
    except ImageError as error:
        return error.reason != "no such object"
    return True
