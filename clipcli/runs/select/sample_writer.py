"""Where whole samples go: into tar shards, which appear together when the last one is done, or into a folder."""

from __future__ import annotations

import io
import os
import posixpath
import re
import shutil
import tarfile
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from clipcli.core.redaction import redact, redact_url
from clipcli.errors import OutputError, UsageError
from clipcli.inputs.sources.filesystems import check_writable, is_url, upload
from clipcli.inputs.sources.refs import SHARDS, has_suffix
from clipcli.output.targets import UNFINISHED, open_target
from clipcli.runs.select.samples import first_dot_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.runs.select.samples import Sample

_NUMBER: Final = re.compile(r"\{(?::0?(\d{0,2})d?)?\}|%0?(\d{0,2})d")
_MODE: Final = 0o644


class SampleWriter(Protocol):
    """Takes samples in the order in which they should stand."""

    files: int
    """Members that are written."""

    def write(self, sample: Sample) -> None:
        """Take one whole sample. Raises ImageError where a member cannot be read, OutputError."""
        ...

    @property
    def words(self) -> str:
        """Return where they are, for the last line of a run."""
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
        """Return where the shards are."""
        return os.path.dirname(self[0])  # noqa: PTH120 - any bytes

    def there(self) -> list[str]:
        """Return local shards of this pattern that are there."""
        if self.width is None or is_url(self.before) or not os.path.isdir(self.folder or os.curdir):  # noqa: PTH112
            return []
        pattern = re.compile(re.escape(self.before) + r"\d+" + re.escape(self.after), re.DOTALL)
        found = (os.path.join(self.folder, name) for name in os.listdir(self.folder or os.curdir))  # noqa: PTH118, PTH208
        return sorted(name for name in found if pattern.fullmatch(name))


def parse_shard_names(path: str | None) -> ShardNames | None:
    """Return the shards that `-o` names; None where it names no tar.

    Raises:
        UsageError: a pattern with several numbers, or of shards that are there.
    """
    if path is None or not has_suffix(path, SHARDS):
        return None
    numbers = list(_NUMBER.finditer(path))
    if not numbers:
        if "{" in path:
            raise UsageError(f"cannot tell the number in {path}", hint="such as 'kept/{:05d}.tar'")
        return ShardNames(path)
    if len(numbers) > 1 or "/" in path[numbers[0].end() :]:
        raise UsageError(f"one number in the file's name says which shard it is: {path}", hint="'kept/{:05d}.tar'")
    number = numbers[0]
    names = ShardNames(path[: number.start()], path[number.end() :], int(number[1] or number[2] or 1))
    if there := names.there():
        raise UsageError(
            f"{there[0]} is there already", hint="remove the shards of an earlier run, or name another folder"
        )
    return names


@contextmanager
def open_shards(names: ShardNames, per_shard: int) -> Iterator[TarShards]:
    """Shards in a hidden folder beside their place; all are moved there at the end, and none after an error.

    Raises:
        OutputError: the place cannot be written.
        UsageError: a URL that nothing is written to.
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
        """Append a sample to its shard; its members are read before, so that none is there by half."""
        contents = [(name, content.read()) for name, content in sample.members]
        if self._tar is None or (self.names.width is not None and self._samples == self.per_shard):
            self._begin()
        assert self._tar is not None  # noqa: S101 - just begun
        for name, data in self._members(sample.holder, contents):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), _MODE
            self._tar.addfile(info, io.BytesIO(data))
        self._samples += 1
        self.files += len(contents)

    def _members(self, holder: str, contents: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return names that no other sample of the shard has: a second one goes into a folder named for its archive."""
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
        """Finish the last shard, and put all in their places."""
        self._end()
        for number in range(self.shards):
            made, place = Path(self.folder, str(number)), self.names[number]
            if is_url(place):
                upload(made, place)
            else:
                with made.open("rb") as stream:
                    os.fsync(stream.fileno())
                made.replace(os.path.realpath(place))

    def abandon(self) -> None:
        """Close what an error left open."""
        with suppress(OSError, ValueError):
            self._end()


@dataclass
class FolderCopies:
    """Files in a folder, below the names that they had; nothing that is there is written over."""

    folder: str
    files: int = 0

    @property
    def words(self) -> str:
        """Return the folder."""
        return self.folder

    def write(self, sample: Sample) -> None:
        """Copy a sample; its members are read before, so that none is there by half."""
        contents = [(name, content.read()) for name, content in sample.members]
        below = plain_path(os.path.splitext(redact_url(sample.holder))[0])  # noqa: PTH122 - any bytes
        for name, data in contents:
            target = os.path.join(self.folder, below, plain_path(name))  # noqa: PTH118
            try:
                os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
            except OSError as error:
                raise OutputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error
            if os.path.lexists(target):
                raise OutputError(f"{target} is there already", hint="name another folder")
            with open_target(target) as out:
                out.write_exact(data)
            self.files += 1


def plain_path(path: str) -> str:
    """Return a path or URL as one below a folder: `/a/../b.jpg` is `b.jpg`, `s3://bucket/a.jpg` is `bucket/a.jpg`."""
    bare = redact_url(path).partition("?")[0].partition("://")[2] if is_url(path) else os.path.splitdrive(path)[1]
    parts = posixpath.normpath(bare.replace(os.sep, "/")).split("/")
    return "/".join(part for part in parts if part not in {"", ".", ".."})
