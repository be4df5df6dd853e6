"""Read the bytes of a path or reference. Folders, devices and named pipes are errors and never block."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipcli.errors import ClipcliError, ImageError, PackageMissingError
from clipcli.inputs.sources import locate
from clipcli.inputs.sources.refs import MAX_BYTES

if TYPE_CHECKING:
    from clipcli.inputs.sources import ImageRef

_DESCRIPTORS: Final = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
_OTHER_KINDS: Final = (
    (stat.S_ISDIR, "a folder, not a file"),
    (stat.S_ISFIFO, "a named pipe, not a file"),
    (stat.S_ISCHR, "a device, not a file"),
    (stat.S_ISBLK, "a device, not a file"),
    (stat.S_ISSOCK, "a socket, not a file"),
)


def read_ref(ref: ImageRef) -> bytes:
    """Read an input from a file or another source; thread-safe.

    Raises:
        ImageError: at stage `read`, with the reason.
    """
    if ref.problem is not None:
        raise ImageError("read", ref.problem)
    try:
        return ref.source.read() if ref.source is not None else read(ref.path)
    except PackageMissingError:
        raise
    except ClipcliError as error:  # for example, the network is switched off
        raise ImageError("read", error.message + (f" ({error.hint})" if error.hint else "")) from error


def read(path: str) -> bytes:
    """Read the image of a path as in rows: a file, a URL, a member of a shard, a row of a table. Raises ImageError."""
    source = locate(path)
    return source.read() if source is not None else read_file(path)


def read_file(path: str) -> bytes:
    """Read a file, a link to one, or a pipe that the shell opened for this process (`<(command)`).

    A named pipe is refused, since opening it would wait for a writer.

    Raises:
        ImageError: at stage `read`, it is missing, unreadable, empty, too large or not a file.
    """
    try:
        # Checked before opening, because opening a device can have effects, and after, because names can be swapped.
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
            raise ImageError("read", f"{status.st_size / 1e9:.1f} GB, too large for an image")
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
