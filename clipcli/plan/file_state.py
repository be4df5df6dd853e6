"""The present state of a file, to compare it with the plan, and the attributes to restore with it.

A file that differs from the plan is not touched. Restored attributes grant no privileges: only the nine permission bits
of the mode are kept, and no extended attributes of the `security` and `trusted` namespaces.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from clipcli.core.decode import is_file_name
from clipcli.plan import descriptors
from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from collections.abc import Collection

_READ_SIZE: Final = 1 << 20
PERMISSIONS: Final = 0o777
"""Without set-user-id, set-group-id and sticky."""
_ACCESS_LIST: Final = "system.posix_acl_access"
_MAX_XATTR_SIZE: Final = 16_384
"""Largest size of the extended attributes of one file, in characters."""


@dataclass(frozen=True)
class FileState:
    """The result of `lstat` for a file; links are not followed."""

    size: int
    mtime_ns: int
    device: int
    inode: int
    mode: int
    ctime_ns: int
    """Last change of the inode, in nanoseconds; later than `mtime_ns` if a file was copied with its times."""
    names: int = field(default=1, compare=False)
    """Number of hard links to the file: its bytes are freed with the last one."""

    @property
    def is_file(self) -> bool:
        """Return whether it is a regular file, not a link or folder."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Return whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    def is_same(self, other: FileState) -> bool:
        """Return whether two names refer to the same file.

        A disk that is mounted twice may have two device numbers, so a file with the same inode, size and times on
        another device counts as the same; copies differ in these.
        """
        if self.device == other.device:
            return self.inode == other.inode
        identity = self.inode, self.size, self.mtime_ns, self.ctime_ns
        return identity == (other.inode, other.size, other.mtime_ns, other.ctime_ns)


def look(path: str) -> FileState | None:
    """Return the state of the file at a path, without following links; None if there is none."""
    try:
        status = descriptors.lstat(path)
    except (OSError, ValueError):
        return None
    return _state(status)


def look_at(resolved: str) -> FileState | None:
    """Return what `look` does, of a path whose folders were just resolved, which takes a tenth of the time.

    It is for reading: a folder above it that is exchanged for a link meanwhile is not noticed.
    """
    try:
        return _state(os.lstat(resolved))
    except (OSError, ValueError):
        return None


def look_through(path: str) -> FileState | None:
    """Return the state of the file at a path, following links; None if there is none."""
    try:
        return _state(os.stat(path))
    except (OSError, ValueError):
        return None


def _state(status: os.stat_result) -> FileState:
    return FileState(
        status.st_size,
        status.st_mtime_ns,
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_ctime_ns,
        status.st_nlink,
    )


def resolve(path: str) -> str:
    """Return an absolute path with every parent folder resolved, but not the last component."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def named(image: str, path: str) -> str:
    """Return the user's name of a file in a plan or journal, or its path if that name now means another file."""
    return image if is_file_name(image) and resolve(image) == path else path


def digest_of(path: str) -> str | None:
    """Return the SHA-256 (hex) of a regular file; None if it cannot be read. Links are not followed."""
    try:
        with open(descriptors.open_to_read(path), "rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(_READ_SIZE):
                digest.update(block)
    except (OSError, ValueError):
        return None
    return digest.hexdigest()


def holds(path: str, sha256: str) -> bool:
    """Return whether there is a regular file with these bytes at a path."""
    state = look(path)
    return state is not None and state.is_file and digest_of(path) == sha256


def words_of(error: OSError, path: str) -> str:
    """Return the system's reason, with the path it names if that is in another folder than `path`."""
    words = error.strerror or str(error)
    named = error.filename2 or error.filename  # of two paths the second is the target
    named = os.fsdecode(named) if isinstance(named, str | bytes) else path
    near = os.path.dirname(named) == os.path.dirname(path) or not named
    return words[:1].lower() + words[1:] + ("" if near else f": {named}")


def is_below(path: str, folders: Collection[str]) -> bool:
    """Return whether an absolute path is one of the folders or lies in one."""
    if any(is_inside(path, folder) for folder in folders):
        return True
    keys = {key for folder in folders if (key := _identity(folder))}
    while keys:
        if _identity(path) in keys:
            return True
        path, below = os.path.dirname(path), path
        if path == below:
            break
    return False


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class Attributes:
    """The attributes to restore with a file, as far as the system permits."""

    mode: int
    """Permission bits."""
    mtime_ns: int
    atime_ns: int = 0
    """0 if unknown."""
    uid: int = -1
    """-1 if unknown."""
    gid: int = -1
    xattrs: tuple[str, ...] = ()
    """Each `name=value`, the value in hex digits."""

    def put_on(self, descriptor: int, path: str) -> None:
        """Set the attributes on an open file, created at `path`. Raises OSError if the mode cannot be set."""
        file: int | str = descriptor if os.chmod in os.supports_fd else path
        if hasattr(os, "fchown"):
            _set_owner(descriptor, self.uid, self.gid)
        os.chmod(file, self.mode & PERMISSIONS)  # after the owner, whose change may clear bits
        for text in self.xattrs if hasattr(os, "setxattr") else ():
            name, _, value = text.rpartition("=")
            if is_xattr(text):
                with suppress(OSError):
                    os.setxattr(descriptor, name, bytes.fromhex(value))
        os.utime(file, ns=(self.atime_ns or self.mtime_ns, self.mtime_ns))


def attributes_of(descriptor: int) -> Attributes:
    """Read the attributes of an open file. Raises OSError."""
    state = os.fstat(descriptor)
    return Attributes(
        state.st_mode & PERMISSIONS, state.st_mtime_ns, state.st_atime_ns, state.st_uid, state.st_gid,
        _xattrs_of(descriptor),
    )  # fmt: skip


def is_xattr(text: str) -> bool:
    """Return whether a text is `name=value` of an attribute that may be kept."""
    name, _, value = text.rpartition("=")
    try:
        bytes.fromhex(value)
    except ValueError:
        return False
    return _is_kept(name)


def _is_kept(name: str) -> bool:
    return (name.startswith("user.") or name == _ACCESS_LIST) and is_file_name(name)


def _set_owner(descriptor: int, uid: int, gid: int) -> None:
    """Set owner and group; if not permitted, only the group."""
    try:
        os.fchown(descriptor, uid, gid)
    except OSError:
        with suppress(OSError):
            os.fchown(descriptor, -1, gid)


def _xattrs_of(descriptor: int) -> tuple[str, ...]:
    xattrs: list[str] = []
    if hasattr(os, "listxattr"):
        with suppress(OSError):  # a file system without extended attributes
            names = [name for name in sorted(os.listxattr(descriptor)) if _is_kept(name)]
            xattrs = [f"{name}={os.getxattr(descriptor, name).hex()}" for name in names]
    return tuple(xattrs) if sum(map(len, xattrs)) <= _MAX_XATTR_SIZE else ()
