"""The desktop's trash, by the freedesktop.org trash specification 1.0.

Files are trashed under their quarantine names, after the last check. `send2trash` takes a path, and would trash a file
that another program put there at that moment. On macOS and Windows only the system can access the trash: `send2trash`
puts files there, and only a person can restore them.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from clipcli.core.files import read_stream
from clipcli.plan import descriptors, safe_move
from clipcli.plan.file_state import holds, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.plan.journal_lines import Step

IS_OURS: Final = os.name == "posix" and sys.platform != "darwin"
"""Whether files can be restored from this system's trash."""
_SUFFIX: Final = ".trashinfo"
_MAX_NAME_SIZE: Final = 255 - len(_SUFFIX) - len(" (99999)")
"""Limit in bytes."""
_MAX_NOTE_SIZE: Final = 1 << 16


def refuse_read_only(path: str) -> None:
    """Refuse to trash a read-only file, as desktops do. Raises PermissionError."""
    if not os.access(path, os.W_OK):
        words = "read-only files cannot be trashed (use chmod u+w, or --action move:DIR)"
        raise PermissionError(errno.EACCES, words)


def put(step: Step) -> None:
    """Move a quarantined file to the trash, under its own name.

    Raises:
        OSError: its file system has no writable trash. The file stays in quarantine.
    """
    waiting = safe_move.quarantine_path(step.path)
    if not IS_OURS:
        from send2trash import send2trash

        safe_move.restore(step, over=False)
        send2trash(step.path)
        return
    trash, top = _trash_for(step.path)
    name = _note(step.path, trash, top)
    try:
        safe_move.move(waiting, os.path.join(trash, "files", name), step.sha256)
    except OSError:
        forget(os.path.join(trash, "info", name + _SUFFIX))
        raise


class Trashcan:
    """Looks up files in the trash. The `.trashinfo` files are read only once."""

    def __init__(self) -> None:
        self._notes: dict[str, dict[str, list[Path]]] = {}
        """Trash folder → original path → `.trashinfo` files."""

    def find(self, path: str, sha256: str) -> tuple[str, str] | None:
        """Return the paths of the last trashed file from `path` with these bytes and of its `.trashinfo`, or None."""
        matches: list[tuple[float, str, str]] = []
        for trash, base in _trashes(path):
            if trash not in self._notes:
                self._notes[trash] = _read_notes(trash, base)
            for info in self._notes[trash].get(path, []):
                file = os.path.join(trash, "files", info.name.removesuffix(".trashinfo"))
                if holds(file, sha256):
                    matches.append((info.stat().st_mtime, file, str(info)))
        return max(matches)[1:] if matches else None


def forget(info: str) -> None:
    """Delete the `.trashinfo` of a file that is no longer in the trash."""
    with suppress(OSError):
        descriptors.unlink(info)


def _trash_for(path: str) -> tuple[str, str]:
    """Return the trash folder for a file, and the base folder of paths in its `.trashinfo` (empty: absolute paths).

    Raises:
        OSError: there is no trash, and none can be created.
    """
    device = os.stat(os.path.dirname(path)).st_dev
    (home, data), *other_trashes = _trashes(path)
    os.makedirs(data, mode=0o700, exist_ok=True)
    if os.stat(data).st_dev == device:
        return _prepare(home), ""
    for trash, top in other_trashes:
        if os.path.basename(trash).startswith(".Trash-") or _is_shared_trash(os.path.dirname(trash)):
            return _prepare(trash), top
    raise OSError(errno.EXDEV, "its file system has no trash (use --action move:DIR)")


def _is_shared_trash(folder: str) -> bool:
    """Return whether a folder is a valid shared trash: not a link, and with the sticky bit."""
    try:
        state = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and bool(state.st_mode & stat.S_ISVTX)


def _prepare(trash: str) -> str:
    """Create a trash folder with its two subfolders, owned by this user. Raises OSError."""
    for folder in (trash, os.path.join(trash, "files"), os.path.join(trash, "info")):
        descriptors.make_folder(folder, 0o700)
        state = descriptors.lstat(folder)
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, "the trash belongs to another user", folder)
    return trash


def _note(path: str, trash: str, top: str) -> str:
    """Write the `.trashinfo` of a file and return its free name in the trash. Raises OSError."""
    stem, suffix = os.path.splitext(os.path.basename(path))
    stem = os.fsdecode(os.fsencode(stem)[: max(1, _MAX_NAME_SIZE - len(os.fsencode(suffix)))])
    origin = quote_from_bytes(os.fsencode(os.path.relpath(path, top) if top else path))
    text = f"[Trash Info]\nPath={origin}\nDeletionDate={time.strftime('%Y-%m-%dT%H:%M:%S')}\n"
    for number in count(1):
        name = (stem if number == 1 else f"{stem} ({number})") + suffix
        if look(os.path.join(trash, "files", name)) is not None:
            continue
        with suppress(FileExistsError):
            with open(descriptors.create(os.path.join(trash, "info", name + _SUFFIX)), "wb") as stream:
                stream.write(text.encode("ascii"))
            return name
    raise AssertionError("counting ends nowhere")


def _trashes(path: str) -> Iterator[tuple[str, str]]:
    """Yield the possible trash folders of a file, each with the base folder of its relative paths."""
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    yield os.path.realpath(os.path.join(data, "Trash")), data
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
    """Return the original path in a `.trashinfo`, or None."""
    with suppress(OSError):
        with open(descriptors.open_to_read(str(info)), "rb") as stream:
            lines = read_stream(stream, _MAX_NOTE_SIZE).splitlines()
        for line in lines:
            if line.startswith(b"Path="):
                path = os.fsdecode(unquote_to_bytes(line.removeprefix(b"Path=")))
                return os.path.normpath(os.path.join(os.path.realpath(base), path))
    return None
