"""Samples: an image with all that belongs to it, of a tar shard or of a folder.

As webdataset has it, the members of a shard whose names are equal up to the first dot are one sample: `a.jpg`, `a.txt`
and `a.json`, or `s.left.png`, `s.right.png` and `s.txt`. Where names themselves have dots (`22.05.png`), a sample is an
image and what is called like it up to the last dot.
"""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from clipcli.core.files import read_bytes, reason_of
from clipcli.errors import ImageError
from clipcli.inputs.sources.expand import RemoteObject
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.refs import MAX_BYTES, is_image_name
from clipcli.inputs.sources.tar import entries, shorter_stems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.inputs.sources.tar import TarEntry, TarMember

_FOLDERS = 4
"""Folders whose names stay in memory."""


class MemberContent(Protocol):
    """Bytes that can be read."""

    def read(self) -> bytes:
        """Return all of them. Raises ImageError."""
        ...


@dataclass(frozen=True)
class Sample:
    """A sample: members that belong together."""

    holder: str
    """The archive, as the user wrote it; empty for files."""
    members: Sequence[tuple[str, MemberContent]]
    """Name in the archive, or path, and bytes; in their order."""
    problem: str | None = None
    """Why it may not be whole."""

    def whole(self) -> Sample:
        """Return itself. Raises ImageError where it may not be whole."""
        if self.problem is not None:
            raise ImageError("read", self.problem)
        return self

    @property
    def images(self) -> list[str]:
        """Return the names of those that are images by their suffix."""
        return [name for name in self.names if is_image_name(name)]

    @property
    def names(self) -> list[str]:
        """Return the names of its members."""
        return [name for name, _ in self.members]


@dataclass(frozen=True)
class _Member:
    member: TarMember

    def read(self) -> bytes:
        return self.member.read() if self.member.size else b""


@dataclass(frozen=True)
class _File:
    path: str

    def read(self) -> bytes:
        try:
            return read_bytes(self.path, MAX_BYTES)
        except (OSError, ValueError) as error:
            raise ImageError("read", reason_of(error)) from error


def samples_of(archive: str, *, last_dot: bool) -> Iterator[Sample]:
    """Yield the samples of an archive, in the order of their first members.

    A damaged archive ends with a sample without members that says so; the sample before the damage may not be whole,
    and says that.
    """
    every = list(entries(archive))
    damage = next((entry.problem for entry in every if not entry.name and entry.member is None), None)
    named = [entry for entry in every if entry.name]
    last = named[-1].name if named and damage else None
    for group in _groups(named, last_dot=last_dot):
        lost = next((entry for entry in group if entry.member is None), None)
        problem = f"{posixpath.basename(lost.name)}: {lost.problem}" if lost else None
        if last in {entry.name for entry in group}:
            problem = f"may not be whole: {damage}"
        members = [(entry.name, _Member(entry.member)) for entry in group if entry.member is not None]
        yield Sample(archive, members, problem)
    if damage:
        yield Sample(archive, (), damage)


def _groups(named: Sequence[TarEntry], *, last_dot: bool) -> list[list[TarEntry]]:
    """Return entries by sample. Where a name comes again, it begins another sample of the same key."""
    keys = image_keys([entry.name for entry in named]) if last_dot else None
    groups: dict[str, list[list[TarEntry]]] = {}
    order: list[list[TarEntry]] = []
    for entry in named:
        for key in [first_dot_key(entry.name)] if keys is None else keys.of(entry.name):
            several = groups.setdefault(key, [])
            if not several or any(other.name == entry.name for other in several[-1]):
                several.append([])
                order.append(several[-1])
            several[-1].append(entry)
    return order


def first_dot_key(name: str) -> str:
    """Return a member's key as webdataset has it: its folder, and its name up to the first dot."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


@dataclass(frozen=True)
class ImageKeys:
    """Which images a name belongs to, where keys end at the last dot."""

    stems: frozenset[str]
    """Names of images up to the last dot."""
    below: dict[str, list[str]] = field(default_factory=dict)
    """Stem → the longer ones that begin with it and a dot: `s` → `s.left`, `s.right`."""

    def of(self, name: str) -> list[str]:
        """Return the image that a name is or belongs to; several where it stands for them all; itself, for none."""
        stem = name.rpartition(".")[0] or name
        if is_image_name(name) or stem in self.stems:
            return [stem]
        owner = next((shorter for shorter in shorter_stems(stem) if shorter in self.stems), None)
        return [owner] if owner is not None else self.below.get(stem, [stem])


def image_keys(names: Sequence[str]) -> ImageKeys:
    """Return the keys of some names that stand together."""
    stems = dict.fromkeys(name.rpartition(".")[0] for name in names if is_image_name(name))
    below: dict[str, list[str]] = defaultdict(list)
    for stem in stems:
        for shorter in shorter_stems(stem):
            below[shorter].append(stem)
    return ImageKeys(frozenset(stems), dict(below))


def sample_of_file(path: str) -> Sample:
    """Return an image that is a file, with the files beside it that have its name up to the last dot.

    A URL stands alone.
    """
    if is_url(path):
        return Sample("", [(path, RemoteObject(path))])
    folder, name = os.path.split(path)
    beside = _beside(folder or os.curdir, _changed(folder or os.curdir))
    names = beside.get(name.rpartition(".")[0], [])
    others = [other for other in names if other != name and not is_image_name(other)]
    paths = [path, *(os.path.join(folder, other) for other in others)]  # noqa: PTH118 - any bytes
    return Sample("", [(each, _File(each)) for each in paths])


@lru_cache(maxsize=_FOLDERS)
def _beside(folder: str, _changed: int) -> dict[str, list[str]]:
    """Return the files of a folder by the stem of their image, sorted."""
    try:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found if entry.is_file() and not entry.name.startswith("."))
    except OSError:
        return {}  # the image itself will say it
    keys = image_keys(names)
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for key in keys.of(name):
            by_key[key].append(name)
    return dict(by_key)


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - any bytes
    except OSError:
        return 0
