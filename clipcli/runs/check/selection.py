"""Patterns of a check → its images. Patterns are those of .gitignore, which everyone with a repository knows."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pathspec

from clipcli.core.skipped_folders import lies_in_skipped_folder
from clipcli.errors import InputsError, UsageError
from clipcli.inputs.collect import IMAGE_SUFFIXES, ImageRef, collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.config import CheckSpec, Config
    from clipcli.core.console import Console
    from clipcli.inputs.sources.globs import Globs
    from clipcli.options.check import SelectionOptions


def canonical(path: str) -> str:
    """One name a file, whatever links its folder is reached by; a link itself keeps its name, as in git."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - any bytes
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118


def changed_since(ref: str, folder: str) -> frozenset[str]:
    """Files that differ from the point where this branch left `ref`, by canonical path; new ones too, deleted ones not.

    A renamed file counts under its new name, also when its content stayed: its folder may be what is expected of it.

    Raises:
        UsageError: no such commit.
        InputsError: git is missing, or the folder is in no repository.
    """
    where = folder or os.curdir
    top = _git(where, "rev-parse", "--show-toplevel")
    if top is None:
        raise InputsError(f"--changed-since: {where} is in no git repository", hint="run it inside of one")
    root = os.fsdecode(top.removesuffix(b"\n"))
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        hint = "in CI the history may be cut: fetch it with actions/checkout's fetch-depth: 0, or git fetch origin"
        raise UsageError(f"--changed-since {ref}: git knows no such commit", hint=hint)
    sha = commit.decode().strip()
    # Without a common ancestor (a shallow clone) the commit itself is what there is to compare with.
    base = (_git(root, "merge-base", sha, "HEAD") or commit).decode().strip()
    listed = (
        _git(
            root,
            "diff",
            "--name-only",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "-z",
            "--diff-filter=d",
            base,
            "--",
        )
        or b""
    )
    fresh = _git(root, "ls-files", "-z", "--others", "--exclude-standard") or b""
    names = [name for name in (listed + fresh).split(b"\0") if name]
    return frozenset(canonical(os.path.join(root, os.fsdecode(name))) for name in names)  # noqa: PTH118


def _git(folder: str, *arguments: str) -> bytes | None:
    """Return what git prints, or None where it refuses. Raises InputsError when there is no git."""
    try:
        # What a repository's own config would have git run is not asked for.
        command = ["git", "-C", folder, "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", *arguments]
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise InputsError(f"git cannot be run: {error.strerror or error}", hint="install git") from error
    if done.returncode and b"dubious ownership" in done.stderr:
        raise InputsError(
            "git refuses this repository: it belongs to another user",
            hint="git config --global --add safe.directory DIR",
        )
    return None if done.returncode else done.stdout


_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Scope:
    """Files by canonical path; None is every file."""

    named: frozenset[str] | None = None
    changed: frozenset[str] | None = None

    @classmethod
    def of(cls, selection: SelectionOptions, config: Config, console: Console) -> Scope:
        """Return what the command line asked for; with paths and a commit, what both hold.

        Raises:
            UsageError: no such commit.
            InputsError: nothing among the paths, or no repository.
        """
        paths, since = selection.images, selection.changed_since
        named = None
        if paths:
            refs = collect(paths, null=selection.null, globs=selection.globs, detail=console.debug_once)
            named = frozenset(canonical(ref.path) for ref in refs)
        return cls(named, changed_since(since, config.folder) if since is not None else None)

    def narrows(self, spec: CheckSpec, config: Config) -> bool:
        """Return whether only some images of a check are meant.

        Not so when what the check itself is made of has changed.
        """
        if self.named is None and self.changed is None:
            return False
        return self.named is not None or not self._touches(spec, config)

    @property
    def paths(self) -> list[str]:
        """Return the files of a narrow scope."""
        if self.named is None or self.changed is None:
            return sorted(self.named or self.changed or ())
        return sorted(self.named & self.changed)

    def _touches(self, spec: CheckSpec, config: Config) -> bool:
        files = [*spec.labels_file, *(spec.prompts or config.defaults.prompts)]
        files += [name for name in (spec.groups, spec.expect_from, spec.thresholds) if name]
        model = config.model_beside(spec.model or config.defaults.model or "")
        own = [str(config.path), os.path.join(model, _MANIFEST), *map(config.beside, files)]  # noqa: PTH118
        return any(canonical(name) in (self.changed or ()) for name in own)


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
        """Return the patterns of one check."""
        return cls(os.path.realpath(folder or os.curdir), check.include, check.exclude, globs, detail)

    def all(self) -> list[ImageRef]:
        """Return every image that the patterns take, sorted by name; hidden names and linked folders are left out."""
        found = {ref.path: ref for root in self._roots for ref in self._below(root)}
        return self._sorted(ref for ref in found.values() if ref.problem or self.takes(ref.path))

    def among(self, paths: Iterable[str]) -> list[ImageRef]:
        """Return the same, but only of some files, given by canonical path."""
        return self._sorted(ImageRef(path, path) for path in paths if self.takes(path))

    def takes(self, path: str) -> bool:
        """Return whether an absolute path is one of this check's images."""
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
        """Return whether a folder on the way is a recycle bin or the like that no pattern names."""
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
    """Return the folders (or the file) at the start of a pattern that hold no wildcard.

    Nothing where it fits at any depth.
    """
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
