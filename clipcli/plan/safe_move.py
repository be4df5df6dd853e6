"""Move and copy files: never over another file, whole or not at all, also across file systems."""

from __future__ import annotations

import errno
import hashlib
import os
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from clipcli.plan import descriptors
from clipcli.plan.attributes import Attributes, attributes_of
from clipcli.plan.file_state import digest_of, look
from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from collections.abc import Iterable


_PRIVATE: Final = 0o600
_CLOCK_SLACK: Final = 2.0
"""Seconds by which a file system's clock may differ from ours."""
_READ_SIZE: Final = 1 << 20
_SHOWN: Final = 40
"""Characters of the file's name that its hidden name shows, so that a person can recognise it."""


class ChangedWhileCopiedError(OSError):
    """The copied bytes differ from the plan."""


def hidden_name(path: str, kind: str) -> str:
    """Return a hidden name in the same folder, short enough however long the file's own name is."""
    folder, name = os.path.split(path)
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return os.path.join(folder, f".clipcli-{kind}-{digest}-{name[-_SHOWN:]}")


def part_of(path: str) -> str:
    """Return the temporary name of a copy or link until it is complete."""
    return hidden_name(path, "part")


def move(source: str, target: str, sha256: str) -> None:
    """Move a file to a free path. Nothing is overwritten, even if a file appears there meanwhile.

    Raises:
        OSError: the path exists, is not writable, the disk is full, or the file changed; the source remains.
    """
    os.close(descriptors.create(target, _PRIVATE))  # our own placeholder, which the rename may replace
    try:
        descriptors.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            descriptors.unlink(target)
            raise
        _move_by_copy(source, target, sha256)


def copy(source: str, target: str, sha256: str, attributes: Attributes, *, over: bool) -> None:
    """Write a copy to `target`, renamed into place once it is complete and verified; with `over` it replaces a link.

    The copy gets the attributes that the system lets this user set.

    Raises:
        OSError: it cannot be written, the bytes do not match `sha256`, or the path exists.
    """
    part = part_of(target)
    _copy_bytes(source, part, sha256, attributes)
    if over:
        descriptors.replace(part, target)
    else:
        move(part, target, sha256)
    _sync_folder(target)


def is_placeholder(path: str, began: float) -> bool:
    """Return whether `path` is the empty placeholder of a move that began at `began` (seconds since 1970)."""
    state = look(path)
    if state is None or not state.is_file or state.size or state.mode & 0o777 != _PRIVATE:
        return False
    return state.ctime_ns >= (began - _CLOCK_SLACK) * 1e9


def drop_placeholder(path: str, began: float) -> None:
    """Remove the empty placeholder of an interrupted move back. Raises OSError."""
    if is_placeholder(path, began):
        descriptors.unlink(path)


def clean_up(target: str) -> None:
    """Remove what an interrupted move or copy to `target` left beside it."""
    with suppress(OSError):
        descriptors.unlink(part_of(target))


def make_folders(folder: str, root: str) -> None:
    """Make a removed folder again, with its parents up to `root`, if `root` exists. Raises OSError."""
    if look(root) is None or not is_inside(folder, root):
        return
    missing: list[str] = []
    while folder != root and look(folder) is None:
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        descriptors.make_folder(path)


def remove_empty(folders: Iterable[str]) -> None:
    """Remove folders that were made for a move, innermost first, as far as they are empty."""
    for folder in sorted(folders, key=len, reverse=True):
        with suppress(OSError):
            descriptors.rmdir(folder)


def _move_by_copy(source: str, target: str, sha256: str) -> None:
    part, before = part_of(target), look(source)
    try:
        _copy_bytes(source, part, sha256)
        descriptors.replace(part, target)
        _sync_folder(target)
        if look(source) != before:
            raise ChangedWhileCopiedError(errno.EBUSY, "it was changed while it was copied")
    except OSError:
        clean_up(target)
        descriptors.unlink(target)
        raise
    descriptors.unlink(source)


def _copy_bytes(source: str, part: str, sha256: str, attributes: Attributes | None = None) -> None:
    """Copy to a new file, which gets these attributes or those of the source. Raises OSError."""
    with suppress(FileNotFoundError):
        descriptors.unlink(part)
    with open(descriptors.open_to_read(source), "rb") as read, open(descriptors.create(part), "wb") as written:
        digest = hashlib.sha256()
        while block := read.read(_READ_SIZE):
            digest.update(block)
            written.write(block)
        written.flush()
        (attributes or attributes_of(read.fileno())).put_on(written.fileno(), part)
        os.fsync(written.fileno())
    if digest.hexdigest() != sha256 or digest_of(part) != sha256:
        descriptors.unlink(part)
        raise ChangedWhileCopiedError(errno.EIO, "the bytes are not those that were planned")


def _sync_folder(path: str) -> None:
    descriptors.sync_folder(path)


class FreeNames:
    """Unused names in one folder. Each folder is listed once, so the cost per file does not grow with the folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._names_in: dict[str, dict[str, str]] = {}
        """Folder → folded name → the name on disk, or the name handed out here."""

    def of(self, relative: str) -> tuple[str, tuple[str, ...]]:
        """Return the target path for `relative`, and the folders to make for it, outermost first.

        Names that differ only in case or in how an accent is written count as equal, since on many disks they are:
        folders are joined, a file becomes `name (2).jpg`.
        """
        *parents, name = relative.split(os.sep)
        folder, missing = self.folder, _missing_above(self.folder)
        for parent in parents:
            folder = os.path.join(folder, self._folder_in(folder, parent))
            if look(folder) is None:
                missing.append(folder)
        taken = self._names(folder)
        stem, suffix = os.path.splitext(name)
        candidate, count = name, 1
        while _folded(candidate) in taken:
            count += 1
            candidate = f"{stem} ({count}){suffix}"
        taken[_folded(candidate)] = candidate
        return os.path.join(folder, candidate), tuple(missing)

    def _folder_in(self, folder: str, name: str) -> str:
        return name if look(os.path.join(folder, name)) else self._names(folder).setdefault(_folded(name), name)

    def _names(self, folder: str) -> dict[str, str]:
        if folder not in self._names_in:
            self._names_in[folder] = {}
            with suppress(FileNotFoundError, NotADirectoryError):
                self._names_in[folder] = {_folded(name): name for name in sorted(os.listdir(folder), reverse=True)}
        return self._names_in[folder]


def _missing_above(folder: str) -> list[str]:
    missing: list[str] = []
    while look(folder) is None and os.path.dirname(folder) != folder:
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
