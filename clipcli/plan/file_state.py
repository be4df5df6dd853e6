"""A file as it is now against the file as it was planned. Whatever differs is a reason to leave it alone."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import Final

from clipcli.core.decode import is_file_name
from clipcli.plan import descriptors

_READ_SIZE: Final = 1 << 20


@dataclass(frozen=True)
class FileState:
    """What `lstat` says of a file, links not followed."""

    size: int
    mtime_ns: int
    device: int
    inode: int
    mode: int
    ctime_ns: int
    """When its inode last changed: where a file was made later than its bytes."""
    names: int = field(default=1, compare=False)
    """Hard links to it, on the whole disk: its bytes go with the last of them."""

    @property
    def is_file(self) -> bool:
        """Whether it is an ordinary file: no link, no folder."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    def is_same(self, other: FileState) -> bool:
        """Whether two names lead to one file.

        One disk that is mounted at two places may have two device numbers, so a file with the same number, size and
        times on another device counts too: no copy has those.
        """
        if self.device == other.device:
            return self.inode == other.inode
        mine = self.inode, self.size, self.mtime_ns, self.ctime_ns
        return mine == (other.inode, other.size, other.mtime_ns, other.ctime_ns)


def look(path: str) -> FileState | None:
    """The file at a path, reached through no link; None when there is none."""
    try:
        found = descriptors.lstat(path)
    except (OSError, ValueError):
        return None
    return _state(found)


def look_through(path: str) -> FileState | None:
    """The file that a path leads to, links followed; None when there is none."""
    try:
        return _state(os.stat(path))
    except (OSError, ValueError):
        return None


def _state(found: os.stat_result) -> FileState:
    return FileState(
        found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino, found.st_mode, found.st_ctime_ns, found.st_nlink
    )


def resolve(path: str) -> str:
    """An absolute path with every folder above the file resolved, and the last part left as it is, link or not."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def named(image: str, path: str) -> str:
    """What a file of a plan or journal is called: as the user wrote it, unless that is the name of another file."""
    return image if is_file_name(image) and resolve(image) == path else path


def digest_of(path: str) -> str | None:
    """The sha256 (hex) of an ordinary file's bytes; None when it cannot be read. A link is not followed."""
    try:
        with open(descriptors.open_to_read(path), "rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(_READ_SIZE):
                digest.update(block)
    except (OSError, ValueError):
        return None
    return digest.hexdigest()


def holds(path: str, sha256: str) -> bool:
    """Whether an ordinary file with these bytes is at a path."""
    state = look(path)
    return state is not None and state.is_file and digest_of(path) == sha256


def words_of(error: OSError, path: str) -> str:
    """Why the system refused, and where, when that is in another folder than `path`."""
    words = error.strerror or str(error)
    place = error.filename2 or error.filename  # of two the second is where something was to be written
    place = os.fsdecode(place) if isinstance(place, str | bytes) else path
    near = os.path.dirname(place) == os.path.dirname(path) or not place
    return words[:1].lower() + words[1:] + ("" if near else f": {place}")
