"""The attributes of a file: permissions, owner, times, and extended attributes including access control lists.

Restored attributes grant no privileges: only the nine permission bits of the mode are kept, and no extended attributes
of the `security` and `trusted` namespaces.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from clipcli.core.decode import is_file_name

PERMISSIONS: Final = 0o777
"""Without set-user-id, set-group-id and sticky."""
_ACCESS_LIST: Final = "system.posix_acl_access"
_MAX_XATTR_SIZE: Final = 16_384
"""Largest size of the extended attributes of one file, in characters."""


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
