"""Folders and files that only this user can read or replace, whatever the umask.

The cache says which vectors belong to which model, and which files were found whole. Whoever could write there could
answer in a model's name, and whoever could read there could see which pictures were looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER, _FILE = 0o700, 0o600
_OTHERS = 0o077
_OPEN = "other users can write to this folder"


def is_private(folder: Path) -> bool:
    """Whether nobody but this user and root can put files into a folder, or replace it; true for one that is not there.

    On systems without owners it is always true.
    """
    if not hasattr(os, "geteuid"):
        return True
    try:
        state = folder.stat()
    except OSError:
        return True
    is_own = state.st_uid in {os.geteuid(), 0}
    return is_own and not state.st_mode & stat.S_IWOTH and not _is_open_to_all(folder.absolute().parent)


def make_folder(folder: Path) -> Path:
    """Make a folder with those above it that are missing, for this user alone.

    Raises:
        OSError: it cannot be made, or other users can write to it.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    if missing and _is_open_to_all(missing[-1].absolute().parent):
        raise PermissionError(errno.EPERM, _OPEN, str(folder))
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            path.mkdir(_FOLDER)
            path.chmod(_FOLDER)
    if not is_private(folder):
        raise PermissionError(errno.EPERM, _OPEN, str(folder))
    return folder


def _is_open_to_all(folder: Path) -> bool:
    """Return whether everybody may rename what is in a folder.

    In one like /tmp, with the sticky bit, only its owner may.
    """
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return hasattr(os, "geteuid") and bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def open_file(path: Path, mode: str = "w") -> IO[str]:
    """Open a new file for writing, for this user alone; `x` for one that must not be there yet. Raises OSError."""
    only_new = os.O_EXCL if mode == "x" else os.O_TRUNC
    flags = os.O_CREAT | os.O_WRONLY | only_new | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, _FILE)
    close_to_others(path)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def close_to_others(path: Path) -> None:
    """Take from others what they may do with a file or folder of this user's, and with all below a folder."""
    with suppress(OSError):
        state = path.lstat()
        if stat.S_ISLNK(state.st_mode) or (hasattr(os, "geteuid") and state.st_uid != os.geteuid()):
            return
        is_folder = stat.S_ISDIR(state.st_mode)
        owner_mode = _FOLDER if is_folder else _FILE
        if stat.S_IMODE(state.st_mode) & _OTHERS or stat.S_IMODE(state.st_mode) & owner_mode != owner_mode:
            path.chmod(owner_mode)
        for below in path.iterdir() if is_folder else ():
            close_to_others(below)
