"""Patterns of names: braces everywhere, `*` in URLs and in names of shards and tables, `--include` and `--exclude`."""

from __future__ import annotations

import fnmatch
import glob
import math
import os
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clipcli.core.redaction import redact_url
from clipcli.errors import ImageError
from clipcli.inputs.sources.filesystems import attempt, file_system, is_url, scheme
from clipcli.inputs.sources.refs import PACKED, SHARDS, TABLES, ImageRef, has_suffix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MOST_NAMES: Final = 10_000_000
"""Most names of one pattern; more are a mistake or an attack."""
MOST_GROUPS: Final = 16
_MOST_DIGITS: Final = 18
_RANGE: Final = re.compile(r"(\d{1,18})\.\.(\d{1,18})", re.ASCII)
_DIGITS: Final = re.compile(r"\d+\.\.\d+", re.ASCII)


class _Group(NamedTuple):
    """One pair of braces: its position in the text, and its alternatives."""

    start: int
    stop: int
    pieces: Sequence[str] | range
    width: int = 0
    """Number of digits of zero-padded numbers."""

    def __iter__(self) -> Iterator[str]:
        return (f"{piece:0{self.width}d}" if isinstance(piece, int) else piece for piece in self.pieces)


def has_braces(text: str) -> bool:
    """Return whether the text has braces with alternatives."""
    return next(_groups(text), None) is not None


def too_many(text: str) -> str | None:
    """Return why a pattern expands to too many names; None if it does not."""
    if any(_DIGITS.fullmatch(inner) and not _RANGE.fullmatch(inner) for _, _, inner in _pairs(text)):
        return f"a number in braces has more than {_MOST_DIGITS} digits"
    groups = list(_groups(text))
    if len(groups) > MOST_GROUPS:
        return f"more than {MOST_GROUPS} pairs of braces"
    return (
        f"this pattern expands to more than {MOST_NAMES:,} names"
        if math.prod(_length(group.pieces) for group in groups) > MOST_NAMES
        else None
    )


def expand_braces(text: str) -> Iterator[str]:
    """Yield all expansions of a text in order; numbers keep leading zeros, a text without braces yields itself.

    Check the pattern with `too_many` first.
    """
    return _expand(text, list(_groups(text)))


def _expand(text: str, groups: Sequence[_Group]) -> Iterator[str]:
    if not groups:
        yield text
        return
    first, *later_groups = groups
    for piece in first:
        for ending in _expand(text[first.stop :], [_moved(group, first.stop) for group in later_groups]):
            yield text[: first.start] + piece + ending


def _moved(group: _Group, offset: int) -> _Group:
    return _Group(group.start - offset, group.stop - offset, group.pieces, group.width)


def _length(pieces: Sequence[str] | range) -> int:
    """Return the length, also of a range that is too long for `len`."""
    return abs(pieces.stop - pieces.start) if isinstance(pieces, range) else len(pieces)


def _pairs(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and content of the innermost braces, in one pass."""
    start = -1
    for index in (match.start() for match in re.finditer(r"[{}]", text)):
        if text[index] == "{":
            start = index
        elif start >= 0:
            yield start, index + 1, text[start + 1 : index]
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
"""Most names of a pattern that are tried, locally and remotely, before it counts as without matches."""
_MOST_WILD: Final = 32
_MOST_DEEP: Final = 2
_NOTHING: Final = "nothing matches this pattern"


def names_of(pattern: str) -> Iterator[str | ImageRef]:
    """Yield the files and URLs that match a pattern, in order; a plain name yields itself.

    A pattern without matches, or one that cannot be looked up, yields a reference with the problem.
    """
    if problem := too_many(pattern) or too_wild(pattern) or (_why_barren(pattern) if has_braces(pattern) else None):
        yield ImageRef(pattern, redact_url(pattern), problem)
        return
    for name in expand_braces(pattern):
        if _is_glob(name):
            yield from _matches(name)
        else:
            yield name


def too_wild(name: str) -> str | None:
    """Return why the search for a pattern might never end; None if it ends."""
    return _wildness(name) if _is_glob(name) else None


def _wildness(name: str) -> str | None:
    if name.count("**") > _MOST_DEEP or sum(map(name.count, "*?[")) > _MOST_WILD:
        return f"more than {_MOST_WILD} wildcards, or ** more than {_MOST_DEEP} times"
    return None


def match(pattern: str) -> list[str]:
    """Return the existing files and URLs that match a pattern; empty for a plain name or without matches.

    Raises:
        ImageError: the pattern cannot be looked up.
    """
    names: list[str] = []
    if problem := too_many(pattern) or too_wild(pattern):
        raise ImageError("read", problem)
    for name in expand_braces(pattern):
        if _is_glob(name):
            names += _glob(name)
        elif name != pattern and _exists(name):
            names.append(name)
    return names


def is_local_pattern(argument: str) -> bool:
    """Return whether an argument is a pattern of local files; the name of an existing file is not a pattern."""
    return (
        has_magic(argument)
        and not is_url(argument)
        and not has_suffix(argument, (*SHARDS, *PACKED, *TABLES))
        and not os.path.lexists(argument)
    )


def named_files(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, with each pattern of local files replaced by its matches, if there are any."""
    names: list[str] = []
    for argument in arguments:
        matches = list(local_names(argument)) if is_local_pattern(argument) else []
        names += [name for name in matches if isinstance(name, str)] or [argument]
    return names


def local_names(pattern: str) -> Iterator[str | ImageRef]:
    """Yield the files and folders that match a pattern, sorted; without matches, a reference with the problem.

    As in a shell, names that begin with a dot need a pattern with a dot; `**` matches any number of folders.
    """
    if problem := too_many(pattern) or _wildness(pattern):
        yield ImageRef(pattern, pattern, problem)
        return
    empty = True
    for expanded in expand_braces(pattern):
        for name in _glob(expanded) if has_magic(expanded) else [expanded]:
            empty = False
            yield name
    if empty:
        yield ImageRef(pattern, pattern, _NOTHING)


def has_magic(name: str) -> bool:
    """Return whether a name contains `*`, `[` or `?`; on the web a question mark begins a query."""
    special = "*[" if scheme(name) in {"http", "https"} else "*[?"
    return any(character in name for character in special)


def full_url(system: Any, url: str, path: str) -> str:
    """Return the URL of a path on a file system, in the spelling of the URL through which it was found."""
    if is_url(path):
        return path
    base_path, base = str(system._strip_protocol(url)).rstrip("/"), url.rstrip("/")  # noqa: SLF001 - no public function returns the path
    return (
        base.removesuffix(base_path) + path
        if base_path and base.endswith(base_path)
        else str(system.unstrip_protocol(path))
    )


def _is_glob(name: str) -> bool:
    """Return whether a name is a pattern of URLs, shards or tables; the shell expands those of plain files."""
    if is_url(name):
        return has_magic(name)
    return has_magic(name) and has_suffix(name, (*SHARDS, *PACKED, *TABLES)) and not os.path.lexists(name)


def _matches(name: str) -> Iterator[str | ImageRef]:
    try:
        matches = _glob(name)
    except ImageError as error:
        yield ImageRef(name, redact_url(name), error.reason)
        return
    yield from matches
    if not matches:
        yield ImageRef(name, redact_url(name), _NOTHING)


def _glob(name: str) -> list[str]:
    """Return the files that match, sorted."""
    if not is_url(name):
        return sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - any bytes
    system, path = file_system(name)
    matches = attempt(lambda: system.glob(path, detail=True)).items()
    return sorted(
        full_url(system, name, str(match_path)) for match_path, info in matches if info.get("type") != "directory"
    )


def _why_barren(pattern: str) -> str | None:
    """Return why no name of a brace pattern exists; None if one exists."""
    limit = _LOOKED_FOR_FAR if is_url(pattern) else _LOOKED_FOR_NEAR
    if any(map(_exists, islice(expand_braces(pattern), limit))):
        return None
    next_name = next(islice(expand_braces(pattern), limit, None), None)
    return _NOTHING if next_name is None else f"none of the first {limit:,} names of this pattern exists"


def _exists(name: str) -> bool:
    """Return whether a name exists or may exist; other faults appear in its own row."""
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


_SEPARATOR: Final = "/"


@dataclass(frozen=True)
class Globs:
    """Shell patterns, in which `*` also matches slashes.

    A pattern without a slash matches a file's name, or the name of a folder between the named folder and the file. A
    pattern with a slash matches the path as written, the path from the named folder, or a folder on the way.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def keeps(self) -> Callable[[str], bool] | None:
        """Return the predicate for names; None if there are no patterns."""
        return self.takes if self.include or self.exclude else None

    def takes(self, name: str, root: str = "") -> bool:
        """Return whether an image is included.

        Args:
            name: its path or URL, as in rows.
            root: the named folder in which it was found; empty for a named file.
        """
        if self.exclude and self._excluded(name, root, folder=False):
            return False
        return not self.include or self._included(name, root, folder=False)

    def prunes(self, folder: str, root: str) -> bool:
        """Return whether a folder is excluded with everything in it, so that it need not be listed."""
        return bool(self.exclude) and self._excluded(folder, root, folder=True)

    @property
    def words(self) -> str:
        """Return the options as on the command line."""
        return " ".join(
            [*(f"--include {glob}" for glob in self.include), *(f"--exclude {glob}" for glob in self.exclude)]
        )

    @cached_property
    def _included(self) -> _GlobMatcher:
        return _GlobMatcher.of(self.include)

    @cached_property
    def _excluded(self) -> _GlobMatcher:
        return _GlobMatcher.of(self.exclude)


@dataclass(frozen=True)
class _GlobMatcher:
    parts: Sequence[re.Pattern[str]]
    """Patterns for each part of a path."""
    folders: Sequence[re.Pattern[str]]
    """Patterns with a trailing slash, for folders only."""
    whole: Sequence[re.Pattern[str]]
    """Patterns for whole paths."""

    @classmethod
    def of(cls, patterns: Sequence[str]) -> _GlobMatcher:
        plain = [re.sub(r"^(\./)+", "", pattern) for pattern in patterns]
        single = [pattern for pattern in plain if _SEPARATOR not in pattern.rstrip(_SEPARATOR)]
        return cls(
            [_compiled(pattern) for pattern in single if not pattern.endswith(_SEPARATOR)],
            [_compiled(pattern.rstrip(_SEPARATOR)) for pattern in single if pattern.endswith(_SEPARATOR)],
            [_compiled(form) for pattern in plain if pattern not in single for form in _forms(pattern)],
        )

    def __call__(self, name: str, root: str, *, folder: bool) -> bool:
        if os.sep != _SEPARATOR:
            name, root = name.replace(os.sep, _SEPARATOR), root.replace(os.sep, _SEPARATOR)
        base = root.rstrip(_SEPARATOR) + _SEPARATOR
        below = name[len(base) :] if root and name.startswith(base) else ""
        *above, last = (below or name.rpartition(_SEPARATOR)[2]).split(_SEPARATOR)
        above += [last] if folder else []
        if _fit(self.parts, (*above, last)) or _fit(self.folders, above):
            return True
        if not self.whole:
            return False
        paths = [name] if "://" in name else [name, os.path.abspath(name)]  # noqa: PTH100 - any bytes
        return _fit(self.whole, [*paths, below, _SEPARATOR + below] if below else paths)


def _forms(pattern: str) -> tuple[str, ...]:
    """Return the patterns for a path itself and for everything in a folder of that path."""
    return (f"{pattern}*",) if pattern.endswith(_SEPARATOR) else (pattern, f"{pattern}/*")


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def _fit(patterns: Iterable[re.Pattern[str]], names: Iterable[str]) -> bool:
    return any(pattern.match(name) for pattern in patterns for name in names)
