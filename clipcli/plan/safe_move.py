"""Move and copy files atomically and never over another file, also across file systems."""

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
"""Seconds by which a file system's clock may differ from the machine's."""
_READ_SIZE: Final = 1 << 20
_SHOWN: Final = 40
"""Characters of the file's name that its hidden name keeps, so that a person can recognise it."""


class ChangedWhileCopiedError(OSError):
    """The copied bytes differ from the plan."""


def hidden_name(path: str, kind: str) -> str:
    """Return a hidden name of limited length in the same folder."""
    folder, name = os.path.split(path)
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return os.path.join(folder, f".clipcli-{kind}-{digest}-{name[-_SHOWN:]}")


def part_of(path: str) -> str:
    """Return the temporary name of an incomplete copy or link."""
    return hidden_name(path, "part")


def move(source: str, target: str, sha256: str) -> None:
    """Move a file to a free path. Nothing is overwritten, even if a file appears there meanwhile.

    Raises:
        OSError: the path exists or is not writable, the disk is full, or the file changed; the source remains.
    """
    os.close(descriptors.create(target, _PRIVATE))  # a placeholder, which the rename may replace
    try:
        descriptors.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            descriptors.unlink(target)
            raise
        _move_by_copy(source, target, sha256)


def copy(source: str, target: str, sha256: str, attributes: Attributes, *, over: bool) -> None:
    """Copy a file and rename the copy to `target` once it is complete and verified; `over` replaces a link.

    The copy gets the attributes that the system lets this user set.

    Raises:
        OSError: the copy cannot be written, its bytes do not match `sha256`, or the path exists.
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
    """Delete the empty placeholder of an interrupted move. Raises OSError."""
    if is_placeholder(path, began):
        descriptors.unlink(path)


def clean_up(target: str) -> None:
    """Delete the incomplete copy of an interrupted move or copy to `target`."""
    with suppress(OSError):
        descriptors.unlink(part_of(target))


def make_folders(folder: str, root: str) -> None:
    """Create a removed folder again, with its parents below `root`, if `root` exists. Raises OSError."""
    if look(root) is None or not is_inside(folder, root):
        return
    missing: list[str] = []
    while folder != root and look(folder) is None:
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        descriptors.make_folder(path)


def remove_empty(folders: Iterable[str]) -> None:
    """Remove the folders created for a move, innermost first, if they are empty."""
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
    """Copy to a new file with these attributes or those of the source. Raises OSError."""
    with suppress(FileNotFoundError):
        descriptors.unlink(part)
    with (
        open(descriptors.open_to_read(source), "rb") as source_stream,
        open(descriptors.create(part), "wb") as target_stream,
    ):
        digest = hashlib.sha256()
        while block := source_stream.read(_READ_SIZE):
            digest.update(block)
            target_stream.write(block)
        target_stream.flush()
        (attributes or attributes_of(source_stream.fileno())).put_on(target_stream.fileno(), part)
        os.fsync(target_stream.fileno())
    if digest.hexdigest() != sha256 or digest_of(part) != sha256:
        descriptors.unlink(part)
        raise ChangedWhileCopiedError(errno.EIO, "its bytes differ from the plan")


def _sync_folder(path: str) -> None:
    descriptors.sync_folder(path)


class FreeNames:
    """Finds unused names in one folder. Each folder is listed once, so the cost per file stays constant."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._names_in: dict[str, dict[str, str]] = {}
        """Folder → folded name → the name on disk, or a name returned earlier."""

    def of(self, relative: str) -> tuple[str, tuple[str, ...]]:
        """Return the target path for `relative`, and the folders to create, outermost first.

        Names that differ only in case or in the composition of accents count as equal, as on many disks: folders are
        joined, a file becomes `name (2).jpg`.
        """
        *parents, name = relative.split(os.sep)
        folder, missing = self.folder, _missing_above(self.folder)
        for parent in parents:
            folder = os.path.join(folder, self._folder_in(folder, parent))
            if look(folder) is None:
                missing.append(folder)
        existing = self._names(folder)
        stem, suffix = os.path.splitext(name)
        candidate, count = name, 1
        while _folded(candidate) in existing:
            count += 1
            candidate = f"{stem} ({count}){suffix}"
        existing[_folded(candidate)] = candidate
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
