"""Patterns of a check → its images. Patterns are those of .gitignore, which everyone with a repository knows."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pathspec

from clipcli.errors import InputsError
from clipcli.inputs import IMAGE_SUFFIXES, ImageRef, collect
from clipcli.sources.skipped import lies_in_skipped_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.config import CheckSpec
    from clipcli.sources.globs import Globs

_MAGIC = frozenset("*?[!")


@dataclass(frozen=True)
class Selection:
    """What a check's `include` and `exclude` mean from the config file's folder."""

    folder: str
    include: Sequence[str]
    exclude: Sequence[str]
    globs: Globs
    """Of the command line."""
    detail: Callable[[str], object]
    """Is told which folders were passed over."""

    @classmethod
    def of(cls, check: CheckSpec, folder: str, globs: Globs, detail: Callable[[str], object]) -> Selection:
        """The patterns of one check."""
        return cls(os.path.realpath(folder or os.curdir), check.include, check.exclude, globs, detail)

    def all(self) -> list[ImageRef]:
        """Every image that the patterns take, sorted by name; hidden names and linked folders are left out."""
        found = {ref.path: ref for root in self._roots for ref in self._below(root)}
        return self._sorted(ref for ref in found.values() if ref.problem or self.takes(ref.path))

    def among(self, paths: Iterable[str]) -> list[ImageRef]:
        """The same, but only of some files, given by canonical path."""
        return self._sorted(ImageRef(path, path) for path in paths if self.takes(path))

    def takes(self, path: str) -> bool:
        """Whether an absolute path is one of this check's images."""
        inside = self._inside(path)
        if inside is None or not self._included.match_file(inside) or self._excluded.match_file(inside):
            return False
        if not self.globs.takes(path, self.folder):
            return False
        if inside in self._literal:
            return True
        hidden = any(part.startswith(".") for part in inside.split("/"))
        return not hidden and not self._is_passed_over(inside) and os.path.splitext(inside)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122

    def _is_passed_over(self, inside: str) -> bool:
        """Whether a folder on the way is a recycle bin or the like that no pattern names."""
        named = {part for pattern in self.include for part in pattern.split("/")}
        parts = inside.split("/")
        unnamed = [part for part in parts[:-1] if part not in named]
        return lies_in_skipped_folder("/".join([*unnamed, parts[-1]]))

    @cached_property
    def _included(self) -> pathspec.GitIgnoreSpec:
        return pathspec.GitIgnoreSpec.from_lines(self.include)

    @cached_property
    def _excluded(self) -> pathspec.GitIgnoreSpec:
        return pathspec.GitIgnoreSpec.from_lines(self.exclude)

    @cached_property
    def _literal(self) -> frozenset[str]:
        """Files that a pattern names outright: these are tried whatever their suffix."""
        names = (pattern.strip("/") for pattern in self.include if not _MAGIC & set(pattern))
        return frozenset(name for name in names if os.path.isfile(os.path.join(self.folder, name)))  # noqa: PTH113, PTH118

    @property
    def _roots(self) -> list[str]:
        """Where to look: a pattern with a slash inside starts at the config file, so that only its part is walked."""
        parts = {_fixed_part(pattern) for pattern in self.include if not pattern.startswith("!")}
        return [os.path.join(self.folder, part) for part in sorted(parts)]  # noqa: PTH118

    def _below(self, root: str) -> Iterator[ImageRef]:
        if os.path.isdir(root):  # noqa: PTH112 - any bytes
            with suppress(InputsError):
                yield from collect([root], detail=self.detail)
        elif os.path.isfile(root):  # noqa: PTH113
            yield ImageRef(root, root)

    def _inside(self, path: str) -> str | None:
        relative = os.path.relpath(path, self.folder)
        outside = relative == os.pardir or relative.startswith(os.pardir + os.sep)
        return None if outside else relative.replace(os.sep, "/")

    def _sorted(self, refs: Iterable[ImageRef]) -> list[ImageRef]:
        """By name, as seen from the working folder."""
        shown = (ImageRef(_shown(ref.path), _shown(ref.path), ref.problem) for ref in refs)
        return sorted(shown, key=lambda ref: os.fsencode(ref.name))


def _fixed_part(pattern: str) -> str:
    """The folders (or the file) at the start of a pattern that hold no wildcard; nothing where it fits at any depth."""
    parts = pattern.rstrip("/").lstrip("/").split("/")
    if len(parts) == 1 and not pattern.startswith("/"):
        return ""
    fixed: list[str] = []
    for part in parts:
        if _MAGIC & set(part):
            break
        fixed.append(part)
    return os.path.join(*fixed) if fixed else ""  # noqa: PTH118


def _shown(path: str) -> str:
    """From the working folder; a name that an option or stdin could be mistaken for gets a `./`."""
    relative = os.path.relpath(path)
    return os.path.join(os.curdir, relative) if relative.startswith("-") else relative  # noqa: PTH118
