"""A file to another place: never over another file, whole or not at all, also across file systems."""

from __future__ import annotations

import errno
import os
import shutil
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipcli.plan.states import digest_of, look

if TYPE_CHECKING:
    from collections.abc import Iterable

PART: Final = ".clipcli-part"
"""What a copy is called until it is whole."""


_PRIVATE: Final = 0o600
_CLOCK_SLACK: Final = 2.0
"""Seconds by which a file system's clock may differ from ours."""


class ChangedWhileCopiedError(OSError):
    """What arrived is not what was planned."""


def free_place(folder: str, relative: str) -> tuple[str, tuple[str, ...]]:
    """Where `relative` can go inside `folder`, and the folders that must be made for it, outermost first.

    Names that differ only in case or in how an accent is written count as equal, since on many disks they are: folders
    are joined, a file becomes `name (2).jpg`.
    """
    *parents, name = relative.split(os.sep)
    place, missing = folder, _missing_above(folder)
    for parent in parents:
        place = os.path.join(place, _same_name(place, parent) or parent)
        if look(place) is None:
            missing.append(place)
    taken = {_folded(other) for other in _names(place)}
    stem, suffix = os.path.splitext(name)
    candidate, count = name, 1
    while _folded(candidate) in taken or _folded(candidate + PART) in taken:
        count += 1
        candidate = f"{stem} ({count}){suffix}"
    return os.path.join(place, candidate), tuple(missing)


def move(source: str, target: str, sha256: str) -> None:
    """Move a file to a place that must be free. Nothing is overwritten, even if something appears there meanwhile.

    Raises:
        OSError: the place is taken, not writable or full, or the file changed on the way; the source is there then.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE))  # ours alone: a rename may replace it
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            Path(target).unlink()
            raise
        _move_by_copy(source, target, sha256)


def copy(source: str, target: str, sha256: str, *, mode: int, mtime_ns: int) -> None:
    """Write a copy to `target`, which is replaced at once when the copy is whole and verified.

    Raises:
        OSError: it cannot be written, or the bytes are not those of `sha256`.
    """
    part = target + PART
    _copy_bytes(source, part, sha256)
    os.chmod(part, mode)
    os.utime(part, ns=(mtime_ns, mtime_ns))
    os.replace(part, target)
    _sync_folder(target)


def is_placeholder(path: str, began: float) -> bool:
    """Whether an empty file at `path` is one with which a move that began then (seconds since 1970) held the place."""
    state = look(path)
    if state is None or not state.is_file or state.size or state.mode & 0o777 != _PRIVATE:
        return False
    return state.ctime_ns >= (began - _CLOCK_SLACK) * 1e9


def clean_up(target: str) -> None:
    """Remove what an interrupted move or copy to `target` left beside it."""
    with suppress(OSError):
        Path(target + PART).unlink()


def remove_empty(folders: Iterable[str]) -> None:
    """Remove folders that were made for a move, innermost first, as far as they are empty."""
    for folder in sorted(folders, key=len, reverse=True):
        with suppress(OSError):
            Path(folder).rmdir()


def _move_by_copy(source: str, target: str, sha256: str) -> None:
    part = target + PART
    try:
        _copy_bytes(source, part, sha256)
        shutil.copystat(source, part, follow_symlinks=False)
        os.replace(part, target)
        _sync_folder(target)
    except OSError:
        clean_up(target)
        Path(target).unlink()
        raise
    Path(source).unlink()


def _copy_bytes(source: str, part: str, sha256: str) -> None:
    clean_up(part.removesuffix(PART))
    with open(source, "rb") as read, open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as written:
        shutil.copyfileobj(read, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())
    if digest_of(part) != sha256:
        clean_up(part.removesuffix(PART))
        raise ChangedWhileCopiedError(errno.EIO, "the bytes are not those that were planned")


def _sync_folder(path: str) -> None:
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _missing_above(folder: str) -> list[str]:
    missing: list[str] = []
    while look(folder) is None and os.path.dirname(folder) != folder:
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing


def _same_name(folder: str, name: str) -> str | None:
    names = _names(folder)
    if name in names:
        return name
    return next((other for other in names if _folded(other) == _folded(name)), None)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
