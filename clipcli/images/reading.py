"""A path → its bytes. Only files are read: a folder, a device or a pipe is an error, never a hang."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from clipcli.errors import ImageError

MAX_BYTES: Final = 2 << 30
"""Larger than any image within the limit of pixels; keeps a mistaken disk image or video out of memory."""

_DESCRIPTORS: Final = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
_OTHER_KINDS: Final = (
    (stat.S_ISDIR, "a folder, not a file"),
    (stat.S_ISFIFO, "a named pipe, not a file"),
    (stat.S_ISCHR, "a device, not a file"),
    (stat.S_ISBLK, "a device, not a file"),
    (stat.S_ISSOCK, "a socket, not a file"),
)


def read(path: str) -> bytes:
    """Read a file, or a link to one, or a pipe that the shell opened for this process (`<(command)`).

    A named pipe is refused, since whoever opens one waits until somebody writes to it.

    Raises:
        ImageError: At stage `read`, when it is missing, unreadable, empty, too large or no file at all.
    """
    try:
        # Looked at twice: before opening because opening a device can act on it, after because names can be swapped.
        _require_file(path, Path(path).stat())
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            _require_file(path, status)
            if stat.S_ISFIFO(status.st_mode):
                os.set_blocking(file.fileno(), True)
            data = file.read()
    except (OSError, ValueError, MemoryError) as error:
        raise ImageError("read", _reason(path, error)) from error
    if not data:
        raise ImageError("read", "empty file")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _require_file(path: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        if status.st_size > MAX_BYTES:
            raise ImageError("read", f"{status.st_size / 1e9:.1f} GB, more than any image has")
        return
    if stat.S_ISFIFO(status.st_mode) and path.startswith(_DESCRIPTORS):
        return
    raise ImageError("read", next((words for holds, words in _OTHER_KINDS if holds(status.st_mode)), "not a file"))


def _reason(path: str, error: OSError | ValueError | MemoryError) -> str:
    if isinstance(error, FileNotFoundError):
        return "a link whose target is missing" if Path(path).is_symlink() else "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, MemoryError):
        return "not enough memory for the file"
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return words[:1].lower() + words[1:]
