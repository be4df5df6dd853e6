"""Samples: an image with all that belongs to it, read from a tar shard or folder, and written to shards or a folder.

As in webdataset, the members of a shard whose names are equal up to the first dot are one sample: `a.jpg`, `a.txt`
and `a.json`, or `s.left.png`, `s.right.png` and `s.txt`. Where names themselves have dots (`22.05.png`), a sample is an
image and the files of its name up to the last dot.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import shutil
import tarfile
import tempfile
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from clipcli.core.files import read_bytes, reason_of
from clipcli.core.redaction import redact, redact_url
from clipcli.errors import ImageError, OutputError
from clipcli.inputs.sources.expand import RemoteObject
from clipcli.inputs.sources.filesystems import check_writable, is_url, upload
from clipcli.inputs.sources.refs import MAX_BYTES, is_image_name
from clipcli.inputs.sources.tar import entries, shorter_stems
from clipcli.output.targets import UNFINISHED, open_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.inputs.sources.tar import TarEntry, TarMember

_FILE_MODE: Final = 0o644
_FOLDERS = 4
"""Folders whose names stay in memory."""


class MemberContent(Protocol):
    """The content of a member."""

    def read(self) -> bytes:
        """Return all bytes. Raises ImageError."""
        ...


@dataclass(frozen=True)
class Sample:
    """A sample: members that belong together."""

    holder: str
    """The archive, as the user wrote it; empty for files."""
    members: Sequence[tuple[str, MemberContent]]
    """Name in the archive, or path, and content, in their order."""
    problem: str | None = None
    """The reason why it may not be whole."""

    def whole(self) -> Sample:
        """Return itself. Raises ImageError if it may not be whole."""
        if self.problem is not None:
            raise ImageError("read", self.problem)
        return self

    @property
    def images(self) -> list[str]:
        """Return the names of members that are images by their suffix."""
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
    """Return entries by sample; a repeated name begins another sample of the same key."""
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
    """Return a member's key, as in webdataset: its folder, and its name up to the first dot."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


@dataclass(frozen=True)
class ImageKeys:
    """The keys of samples whose names end at the last dot."""

    stems: frozenset[str]
    """Names of images up to the last dot."""
    below: dict[str, list[str]] = field(default_factory=dict)
    """Stem → the longer ones that begin with it and a dot: `s` → `s.left`, `s.right`."""

    def of(self, name: str) -> list[str]:
        """Return the keys of a name: its image, all images that it belongs to, or its own stem if there is none."""
        stem = name.rpartition(".")[0] or name
        if is_image_name(name) or stem in self.stems:
            return [stem]
        owner = next((shorter for shorter in shorter_stems(stem) if shorter in self.stems), None)
        return [owner] if owner is not None else self.below.get(stem, [stem])


def image_keys(names: Sequence[str]) -> ImageKeys:
    """Return the keys for the names of one folder or archive."""
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
    files_by_key = _files_by_key(folder or os.curdir, _modified(folder or os.curdir))
    names = files_by_key.get(name.rpartition(".")[0], [])
    others = [other for other in names if other != name and not is_image_name(other)]
    paths = [path, *(os.path.join(folder, other) for other in others)]  # noqa: PTH118 - any bytes
    return Sample("", [(member, _File(member)) for member in paths])


@lru_cache(maxsize=_FOLDERS)
def _files_by_key(folder: str, _modified: int) -> dict[str, list[str]]:
    """Return the files of a folder by the key of their sample, sorted; a folder that changed is read again."""
    try:
        with os.scandir(folder) as listing:
            names = sorted(entry.name for entry in listing if entry.is_file() and not entry.name.startswith("."))
    except OSError:
        return {}  # reading the image reports it
    keys = image_keys(names)
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for key in keys.of(name):
            by_key[key].append(name)
    return dict(by_key)


def _modified(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - any bytes
    except OSError:
        return 0


class SampleWriter(Protocol):
    """The target of samples: tar shards or a folder."""

    files: int
    """Number of files written."""

    def write(self, sample: Sample) -> None:
        """Write one whole sample. Raises OutputError; ImageError if a member cannot be read."""
        ...

    @property
    def words(self) -> str:
        """Return the number and names of what was written, for the summary."""
        ...


@dataclass(frozen=True)
class ShardNames:
    """The output of `-o`: one tar, or a pattern for numbered tars."""

    before: str
    after: str = ""
    width: int | None = None
    """Digits of the number; None for one tar of all samples."""

    def __getitem__(self, number: int) -> str:
        """Return the name of a shard, from 0 on."""
        return self.before if self.width is None else f"{self.before}{number:0{self.width}d}{self.after}"

    @property
    def folder(self) -> str:
        """Return the folder of the shards."""
        return os.path.dirname(self[0])  # noqa: PTH120 - any bytes

    def existing(self) -> list[str]:
        """Return local shards of this pattern that exist already."""
        if self.width is None or is_url(self.before) or not os.path.isdir(self.folder or os.curdir):  # noqa: PTH112
            return []
        pattern = re.compile(re.escape(self.before) + r"\d+" + re.escape(self.after), re.DOTALL)
        names = (os.path.join(self.folder, name) for name in os.listdir(self.folder or os.curdir))  # noqa: PTH118, PTH208
        return sorted(name for name in names if pattern.fullmatch(name))


@contextmanager
def open_shards(names: ShardNames, per_shard: int) -> Iterator[TarShards]:
    """Write shards in a hidden folder; all are moved to their names at the end, and none after an error.

    Raises:
        OutputError: the folder of the shards cannot be written.
        UsageError: a URL that cannot be written.
    """
    if is_url(names.before):
        check_writable(names[0])
        parent = None
    else:
        parent = names.folder or os.curdir
    folder = ""
    try:
        if parent is not None:
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - any bytes
        folder = tempfile.mkdtemp(prefix=".clipcli-", suffix=UNFINISHED, dir=parent)
        shards = TarShards(names, per_shard, folder)
        try:
            yield shards
            shards.close()
        finally:
            shards.abandon()
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(f"cannot write {redact(names[0])}: {(error.strerror or str(error)).lower()}") from error
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class TarShards:
    """Tar files of a fixed number of samples; members have no owner and no time, so equal samples make equal bytes."""

    names: ShardNames
    per_shard: int
    folder: str
    files: int = 0
    renamed: int = 0
    """Samples whose key another sample of their shard had."""
    shards: int = 0
    _samples: int = 0
    _keys: set[str] = field(default_factory=set)
    _tar: tarfile.TarFile | None = None

    @property
    def words(self) -> str:
        """Return how many shards there are, and where."""
        return f"{self.shards:,} shard{'' if self.shards == 1 else 's'}, {redact_url(self.names[0])}" + (
            "" if self.shards <= 1 else f" to {redact_url(self.names[self.shards - 1])}"
        )

    def write(self, sample: Sample) -> None:
        """Append a sample to a shard; all members are read first, so that no sample is written in part."""
        contents = [(name, content.read()) for name, content in sample.members]
        if self._tar is None or (self.names.width is not None and self._samples == self.per_shard):
            self._begin()
        assert self._tar is not None  # noqa: S101 - just begun
        for name, data in self._members(sample.holder, contents):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), _FILE_MODE
            self._tar.addfile(info, io.BytesIO(data))
        self._samples += 1
        self.files += len(contents)

    def _members(self, holder: str, contents: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return members whose key is new in the shard; a repeated key goes into a folder named after its archive."""
        plain = [(name if holder else plain_path(name), data) for name, data in contents]
        stem = posixpath.basename(redact_url(holder)).partition(".")[0] or "files"
        turn, chosen = 0, plain
        while not self._keys.isdisjoint(first_dot_key(name) for name, _ in chosen):
            turn += 1
            prefix = stem if turn == 1 else f"{stem}-{turn}"
            chosen = [(f"{prefix}/{name}", data) for name, data in plain]
        self.renamed += turn > 0
        self._keys.update(first_dot_key(name) for name, _ in chosen)
        return chosen

    def _begin(self) -> None:
        self._end()
        path = os.path.join(self.folder, str(self.shards))  # noqa: PTH118 - any bytes
        self._tar = tarfile.open(path, "w")  # noqa: SIM115 - closed by _end
        self._samples, self.shards = 0, self.shards + 1
        self._keys.clear()

    def _end(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None

    def close(self) -> None:
        """Finish the last shard, and move all shards to their names."""
        self._end()
        for number in range(self.shards):
            written, name = Path(self.folder, str(number)), self.names[number]
            if is_url(name):
                upload(written, name)
            else:
                with written.open("rb") as stream:
                    os.fsync(stream.fileno())
                written.replace(os.path.realpath(name))

    def abandon(self) -> None:
        """Close the shard that an error left open."""
        with suppress(OSError, ValueError):
            self._end()


@dataclass
class FolderCopies:
    """Copies of files in a folder, under their own paths; no existing file is overwritten."""

    folder: str
    files: int = 0

    @property
    def words(self) -> str:
        """Return the folder."""
        return self.folder

    def write(self, sample: Sample) -> None:
        """Copy a sample; all members are read first, so that no sample is written in part."""
        contents = [(name, content.read()) for name, content in sample.members]
        below = plain_path(os.path.splitext(redact_url(sample.holder))[0])  # noqa: PTH122 - any bytes
        for name, data in contents:
            target = os.path.join(self.folder, below, plain_path(name))  # noqa: PTH118
            try:
                os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
                is_file = name != contents[0][0] and os.path.isfile(target)  # noqa: PTH113 - any bytes
                if is_file and read_bytes(target, MAX_BYTES) == data:  # it belongs to two images: a.jpg and a.png
                    continue
            except OSError as error:
                raise OutputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error
            if os.path.lexists(target):
                raise OutputError(f"{target} already exists", hint="name another folder")
            with open_target(target) as out:
                out.write_exact(data)
            self.files += 1


def plain_path(path: str) -> str:
    """Return a path or URL as a relative path: `/a/../b.jpg` is `b.jpg`, `s3://bucket/a.jpg` is `bucket/a.jpg`."""
    bare = redact_url(path).partition("?")[0].partition("://")[2] if is_url(path) else os.path.splitdrive(path)[1]
    parts = posixpath.normpath(bare.replace(os.sep, "/")).split("/")
    return "/".join(part for part in parts if part not in {"", ".", ".."})
