"""Where the desktop's trash put a file, as the freedesktop.org trash specification 1.0 lays it down.

`send2trash` puts files there and does not say where. On macOS and Windows the system keeps that to itself, so there
only a person can take a file out again.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from clipcli.plan.states import holds

if TYPE_CHECKING:
    from collections.abc import Iterator


def put(path: str) -> None:
    """Move a file to the trash.

    Raises:
        OSError: there is no trash on its file system, or it may not be written.
    """
    from send2trash import send2trash

    try:
        send2trash(os.fsencode(path) if os.name == "posix" and not _is_mac() else path)
    except PermissionError as error:
        if os.access(path, os.W_OK):
            raise
        words = "the trash takes no read-only files (chmod u+w, or --action move:DIR)"
        raise PermissionError(errno.EACCES, words) from error


class Trashcan:
    """Looks files up in the trash. Its notes are read once, so that taking back ten thousand files reads them once."""

    def __init__(self) -> None:
        self._notes: dict[str, dict[str, list[Path]]] = {}
        """Trash folder → where a file was → its notes."""

    def find(self, path: str, sha256: str) -> tuple[str, str] | None:
        """A trashed file that was at `path` and has these bytes: itself and its `.trashinfo`; of several the last."""
        found: list[tuple[float, str, str]] = []
        for trash, base in _trashes(path):
            if trash not in self._notes:
                self._notes[trash] = _read_notes(trash, base)
            for info in self._notes[trash].get(path, []):
                file = os.path.join(trash, "files", info.name.removesuffix(".trashinfo"))
                if holds(file, sha256):
                    found.append((info.stat().st_mtime, file, str(info)))
        return max(found)[1:] if found else None


def forget(info: str) -> None:
    """Remove the note about a file that is no longer in the trash."""
    with suppress(OSError):
        Path(info).unlink()


def _is_mac() -> bool:
    return os.uname().sysname == "Darwin"


def _trashes(path: str) -> Iterator[tuple[str, str]]:
    """Folders that may hold the file, and what relative paths in them start from."""
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    yield os.path.join(data, "Trash"), data
    top = os.path.dirname(path)
    while not os.path.ismount(top):
        top = os.path.dirname(top)
    if hasattr(os, "getuid"):
        yield os.path.join(top, ".Trash", str(os.getuid())), top
        yield os.path.join(top, f".Trash-{os.getuid()}"), top


def _read_notes(trash: str, base: str) -> dict[str, list[Path]]:
    notes: dict[str, list[Path]] = {}
    with suppress(OSError):
        for entry in Path(trash, "info").iterdir():
            origin = _origin(entry, base) if entry.suffix == ".trashinfo" else None
            if origin is not None:
                notes.setdefault(origin, []).append(entry)
    return notes


def _origin(info: Path, base: str) -> str | None:
    """The path that a `.trashinfo` names."""
    with suppress(OSError):
        for line in info.read_bytes().splitlines():
            if line.startswith(b"Path="):
                path = os.fsdecode(unquote_to_bytes(line.removeprefix(b"Path=")))
                return os.path.normpath(os.path.join(os.path.realpath(base), path))
    return None
