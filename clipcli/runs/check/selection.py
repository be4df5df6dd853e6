"""Select the images of a check by its patterns, which are as in .gitignore."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pathspec

from clipcli.core.files import lies_in_skipped_folder, split_name
from clipcli.errors import InputsError, UsageError
from clipcli.inputs.collect import IMAGE_SUFFIXES, ImageRef, collect
from clipcli.inputs.sources.filesystems import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.config.schema import CheckSpec, Config
    from clipcli.core.console import Console
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.options.check import SelectionOptions


def canonical(path: str) -> str:
    """Return one name per file, with links in its folder resolved; a link itself keeps its name, as in git."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - any bytes
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118


def changed_since(ref: str, folder: str) -> frozenset[str]:
    """Return the canonical paths of files that changed since this branch left `ref`, with new but not deleted files.

    A renamed file counts under its new name even if its content is the same, since its folder may be its label.

    Raises:
        UsageError: there is no such commit.
        InputsError: git is missing, or the folder is not in a repository.
    """
    git_folder = folder or os.curdir
    top = _git(git_folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise InputsError(f"--changed-since: {git_folder} is not in a git repository", hint="run it inside one")
    root = os.fsdecode(top.removesuffix(b"\n"))
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        hint = "in CI the clone may be shallow: use fetch-depth: 0 of actions/checkout, or git fetch origin"
        raise UsageError(f"--changed-since {ref}: git knows no such commit", hint=hint)
    sha = commit.decode().strip()
    # Without a common ancestor (a shallow clone), compare with the commit itself.
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
    """Return git's output, or None if it fails. Raises InputsError if git is missing."""
    try:
        # Do not run programs from the repository's config.
        command = ["git", "-C", folder, "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", *arguments]
        process = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise InputsError(f"git cannot be run: {error.strerror or error}", hint="install git") from error
    if process.returncode and b"dubious ownership" in process.stderr:
        raise InputsError(
            "git refuses this repository: it belongs to another user",
            hint="git config --global --add safe.directory DIR",
        )
    return None if process.returncode else process.stdout


_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Scope:
    """The files to check, by canonical path; None means every file."""

    named: frozenset[str] | None = None
    changed: frozenset[str] | None = None

    @classmethod
    def of(cls, selection: SelectionOptions, config: Config, console: Console) -> Scope:
        """Return the scope of the command line; with paths and a commit, their intersection.

        Raises:
            UsageError: there is no such commit.
            InputsError: a path that does not exist, no images among the paths, or no repository.
        """
        paths, since = selection.images, selection.changed_since
        named = None
        if paths:
            refs = list(collect(paths, null=selection.null, globs=selection.globs, detail=console.debug_once))
            _refuse_missing(refs, paths)
            named = frozenset(canonical(ref.path) for ref in refs)
        return cls(named, changed_since(since, config.folder) if since is not None else None)

    def narrows(self, spec: CheckSpec, config: Config) -> bool:
        """Return whether only some images are to be checked; False if a file of the check itself has changed."""
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
        files += [*(split_name(head)[1] for head in spec.head), *spec.pairs]
        model = config.model_beside(spec.model or config.defaults.model or "")
        files_of_check = [str(config.path), os.path.join(model, _MANIFEST), *map(config.beside, files)]  # noqa: PTH118
        return any(canonical(name) in (self.changed or ()) for name in files_of_check)


def _refuse_missing(refs: Sequence[ImageRef], paths: Sequence[str]) -> None:
    """Raise InputsError for a misspelt path of the command line: no check has it, so all would hold."""
    for ref in refs:
        if ref.name in paths and not is_url(ref.path) and (ref.problem or not os.path.lexists(ref.path)):
            hint = "leave out the paths to check all images of the file"
            raise InputsError(f"{ref.name}: {ref.problem or 'no such file or folder'}", hint=hint)


_MAGIC = frozenset("*?[!")


@dataclass(frozen=True)
class Selection:
    """The images of a check's `include` and `exclude`, from the config file's folder."""

    folder: str
    include: Sequence[str]
    exclude: Sequence[str]
    globs: Globs
    """The filter of the command line."""
    detail: Callable[[str], object]
    """Gets a message with the skipped folders."""

    @classmethod
    def of(cls, check: CheckSpec, folder: str, globs: Globs, detail: Callable[[str], object]) -> Selection:
        """Return the patterns of one check."""
        return cls(os.path.realpath(folder or os.curdir), check.include, check.exclude, globs, detail)

    def all(self) -> list[ImageRef]:
        """Return every image that matches, sorted by name, without hidden names and linked folders."""
        refs_by_path = {ref.path: ref for root in self._roots for ref in self._below(root)}
        return self._sorted(ref for ref in refs_by_path.values() if ref.problem or self.takes(ref.path))

    def among(self, paths: Iterable[str]) -> list[ImageRef]:
        """Return the images among the given canonical paths, sorted by name."""
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
        return not hidden and not self._is_skipped(inside) and os.path.splitext(inside)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122

    def _is_skipped(self, inside: str) -> bool:
        """Return whether the path lies in a recycle bin or the like that no pattern names."""
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
        """Return the files that a pattern names without wildcards; they are tried whatever their suffix."""
        names = (pattern.strip("/") for pattern in self.include if not _MAGIC & set(pattern))
        return frozenset(name for name in names if os.path.isfile(os.path.join(self.folder, name)))  # noqa: PTH113, PTH118

    @property
    def _roots(self) -> list[str]:
        """Return the folders to search; of a pattern with a slash, only its fixed part."""
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
        """Return the references sorted by name, relative to the working folder."""
        refs_shown = (ImageRef(_display_path(ref.path), _display_path(ref.path), ref.problem) for ref in refs)
        return sorted(refs_shown, key=lambda ref: os.fsencode(ref.name))


def _fixed_part(pattern: str) -> str:
    """Return the leading folders (or the file) of a pattern without wildcards; empty if it matches at any depth."""
    parts = pattern.rstrip("/").lstrip("/").split("/")
    if len(parts) == 1 and not pattern.startswith("/"):
        return ""
    fixed: list[str] = []
    for part in parts:
        if _MAGIC & set(part):
            break
        fixed.append(part)
    return os.path.join(*fixed) if fixed else ""  # noqa: PTH118


def _display_path(path: str) -> str:
    """Return a path relative to the working folder; a name that looks like an option or stdin gets `./`."""
    relative = os.path.relpath(path)
    return os.path.join(os.curdir, relative) if relative.startswith("-") else relative  # noqa: PTH118
