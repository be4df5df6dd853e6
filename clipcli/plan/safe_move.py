"""Move, copy and quarantine files: atomically, never over another file, also across file systems.

Quarantine: between the check of a file and the system call that removes it, another program may replace the file or
remove the keeper. So the file is renamed to a name that nobody else uses, the renamed file is compared with the plan,
the keeper is checked again, and only then the last name is removed. If each of two runs removes the other's keeper, at
least one of them notices that its keeper is missing and restores its own file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from clipcli.plan import descriptors
from clipcli.plan.file_state import Attributes, attributes_of, digest_of, holds, look
from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clipcli.plan.journal_lines import Step

_PRIVATE: Final = 0o600
_CLOCK_SLACK: Final = 2.0
"""Seconds by which a file system's clock may differ from the machine's."""
_READ_SIZE: Final = 1 << 20
_NAME_LENGTH: Final = 40
"""Characters of the file's name that its hidden name keeps, so that a person can recognise it."""


class ChangedWhileCopiedError(OSError):
    """The copied bytes differ from the plan."""


def hidden_name(path: str, kind: str) -> str:
    """Return a hidden name of limited length in the same folder."""
    folder, name = os.path.split(path)
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return os.path.join(folder, f".clipcli-{kind}-{digest}-{name[-_NAME_LENGTH:]}")


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
    descriptors.sync_folder(target)


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
    part, state_before = part_of(target), look(source)
    try:
        _copy_bytes(source, part, sha256)
        descriptors.replace(part, target)
        descriptors.sync_folder(target)
        if look(source) != state_before:
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


def quarantine_path(path: str) -> str:
    """Return the quarantine name of a file, in the same folder."""
    return hidden_name(path, "aside")


def quarantine(step: Step) -> None:
    """Rename the file to its quarantine name. After an OSError the file is at its path."""
    quarantined = _free_quarantine_path(step.path)
    descriptors.rename(step.path, quarantined)
    if not is_planned(step, quarantined):
        try:
            move(quarantined, step.path, step.sha256)
        except OSError as error:
            message = f"two other files took its name at this moment; one is kept as {quarantined}"
            raise OSError(errno.EBUSY, message) from error
        raise _replaced_error()


def link_to_quarantine(step: Step) -> None:
    """Give the file its quarantine name as a second name, so that the path always exists. Raises OSError."""
    quarantined = _free_quarantine_path(step.path)
    try:
        descriptors.link(step.path, quarantined)
    except OSError:  # a file system without hard links
        quarantine(step)
        return
    if not is_planned(step, quarantined):
        descriptors.unlink(quarantined)
        raise _replaced_error()


def restore(step: Step, *, over: bool) -> bool:
    """Restore a quarantined file to its path and return whether there was one; `over` replaces an existing file.

    Raises:
        OSError: another file is at the path; the file stays in quarantine.
    """
    quarantined, current = quarantine_path(step.path), look(step.path)
    waiting = look(quarantined)
    if waiting is None:
        return False
    if not holds(quarantined, step.sha256):  # changed through an open descriptor, or another file
        if current is None and waiting.is_file:
            move(quarantined, step.path, step.sha256)
        return False
    if current is not None and current.is_same(waiting):
        descriptors.unlink(quarantined)
    elif current is None:
        move(quarantined, step.path, step.sha256)
    elif over or holds(step.path, step.sha256):
        descriptors.replace(quarantined, step.path)
    else:
        raise FileExistsError(errno.EEXIST, f"another file has its name now; it is kept as {quarantined}")
    return True


def discard(step: Step) -> None:
    """Delete the quarantined file; after this only a copy can be restored. Raises OSError."""
    descriptors.unlink(quarantine_path(step.path))


def is_quarantined(step: Step) -> bool:
    """Return whether the quarantine name exists."""
    return look(quarantine_path(step.path)) is not None


def is_planned(step: Step, path: str) -> bool:
    """Return whether the file at a path has the planned size, time and bytes, which are read again.

    The inode is not compared, since some file systems change it on a rename.
    """
    state = look(path)
    if state is None or not state.is_file or (state.size, state.mtime_ns) != (step.size, step.mtime_ns):
        return False
    return holds(path, step.sha256)


def _free_quarantine_path(path: str) -> str:
    quarantined = quarantine_path(path)
    if look(quarantined) is not None:
        raise FileExistsError(errno.EEXIST, f"{quarantined} already exists; an interrupted run may have left it")
    return quarantined


def _replaced_error() -> OSError:
    return OSError(errno.EBUSY, "another file took its name at this moment")
