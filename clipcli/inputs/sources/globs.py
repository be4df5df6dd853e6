"""`--include` and `--exclude`: which of the names that are found take part."""

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
    """Patterns of the shell; `*` also stands for slashes.

    A pattern without a slash fits a file's name, or the name of a folder on the way to it from the folder that was
    named. One with a slash fits the path, as it is written or from the folder that was named, or a folder on the way.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def keeps(self) -> Callable[[str], bool] | None:
        """Return the test of a name; None when nothing is left out."""
        return self.takes if self.include or self.exclude else None

    def takes(self, name: str, root: str = "") -> bool:
        """Return whether an image takes part.

        Args:
            name: its path or URL, as rows have it.
            root: the folder that was named and searched; empty for what was named itself.
        """
        if self.exclude and self._excluded(name, root, folder=False):
            return False
        return not self.include or self._included(name, root, folder=False)

    def prunes(self, folder: str, root: str) -> bool:
        """Return whether nothing in a folder takes part, so that it need not be listed."""
        return bool(self.exclude) and self._excluded(folder, root, folder=True)

    @property
    def words(self) -> str:
        """Return the options, as they were given."""
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
    """Held against each part of a path; those of a trailing slash against folders only."""
    folders: Sequence[re.Pattern[str]]
    whole: Sequence[re.Pattern[str]]
    """Held against a whole path."""

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
    """Say whether a path fits, and so does everything in a folder that fits."""
    return (f"{pattern}*",) if pattern.endswith(_SEPARATOR) else (pattern, f"{pattern}/*")


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def _fit(patterns: Iterable[re.Pattern[str]], names: Iterable[str]) -> bool:
    return any(pattern.match(name) for pattern in patterns for name in names)


@dataclass
class FolderSearch:
    """What a search of folders passes over, and what it has passed over so far."""

    globs: Globs = field(default_factory=Globs)
    follows_links: bool = False
    """Links to folders are entered, each once on the way down."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Names of recycle bins, thumbnail caches and the like → how many there were."""

    def enters(self, path: str, root: str) -> bool:
        """Return whether a folder below a named one is searched too."""
        above, name = os.path.split(path.rstrip("/"))
        if is_skipped_folder(name, os.path.basename(above)):  # noqa: PTH119 - any bytes, URLs too
            self.skipped[name] += 1
            return False
        return not self.globs.prunes(path, root)

    def takes(self, name: str, root: str = "") -> bool:
        """Return whether an image takes part."""
        return self.globs.takes(name, root)

    @property
    def summary(self) -> str:
        """Return which folders were passed over, in words; empty where there were none."""
        names = [name if count == 1 else f"{name} ({count:,})" for name, count in sorted(self.skipped.items())]
        return ", ".join(names)
