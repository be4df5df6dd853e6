"""`--include` and `--exclude`: filter the names of images and folders."""

from __future__ import annotations

import fnmatch
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from clipcli.core.skipped_folders import is_skipped_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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
    def _included(self) -> _Patterns:
        return _Patterns.of(self.include)

    @cached_property
    def _excluded(self) -> _Patterns:
        return _Patterns.of(self.exclude)


@dataclass(frozen=True)
class _Patterns:
    parts: Sequence[re.Pattern[str]]
    """Patterns for each part of a path."""
    folders: Sequence[re.Pattern[str]]
    """Patterns with a trailing slash, for folders only."""
    whole: Sequence[re.Pattern[str]]
    """Patterns for whole paths."""

    @classmethod
    def of(cls, patterns: Sequence[str]) -> _Patterns:
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


@dataclass
class FolderSearch:
    """The rules of a search in folders, and the folders skipped so far."""

    globs: Globs = field(default_factory=Globs)
    follows_links: bool = False
    """Enter links to folders, each once on the way down."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Names of skipped recycle bins, thumbnail caches and the like, with their number."""

    def enters(self, path: str, root: str) -> bool:
        """Return whether to search a subfolder; count it otherwise."""
        above, name = os.path.split(path.rstrip("/"))
        if is_skipped_folder(name, os.path.basename(above)):  # noqa: PTH119 - any bytes, URLs too
            self.skipped[name] += 1
            return False
        return not self.globs.prunes(path, root)

    def takes(self, name: str, root: str = "") -> bool:
        """Return whether an image is included."""
        return self.globs.takes(name, root)

    @property
    def summary(self) -> str:
        """Return the names of skipped folders as text; empty if there were none."""
        names = [name if count == 1 else f"{name} ({count:,})" for name, count in sorted(self.skipped.items())]
        return ", ".join(names)
