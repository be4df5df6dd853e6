"""A file to another place: never over another file, whole or not at all, also across file systems."""

from __future__ import annotations

import errno
import hashlib
import os
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
"""Characters of a file's name in the hidden one, so that a person can tell which it is."""


class ChangedWhileCopiedError(OSError):
    """What arrived is not what was planned."""


def hidden_name(path: str, kind: str) -> str:
    """A name beside a file that no search finds and that is not too long, however long the file's own is."""
    folder, name = os.path.split(path)
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return os.path.join(folder, f".clipcli-{kind}-{digest}-{name[-_SHOWN:]}")


def part_of(path: str) -> str:
    """What a copy or a link is called until it is whole."""
    return hidden_name(path, "part")


def move(source: str, target: str, sha256: str) -> None:
    """Move a file to a place that must be free. Nothing is overwritten, even if something appears there meanwhile.

    Raises:
        OSError: the place is taken, not writable or full, or the file changed on the way; the source is there then.
    """
    os.close(descriptors.create(target, _PRIVATE))  # ours alone: a rename may replace it
    try:
        descriptors.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            descriptors.unlink(target)
            raise
        _move_by_copy(source, target, sha256)


def copy(source: str, target: str, sha256: str, attributes: Attributes, *, over: bool) -> None:
    """Write a copy to `target`, in one step when it is whole and verified; `over` a link that is there, or not at all.

    It has the attributes that the system lets this user give it.

    Raises:
        OSError: it cannot be written, the bytes are not those of `sha256`, or the place is taken.
    """
    part = part_of(target)
    _copy_bytes(source, part, sha256, attributes)
    if over:
        descriptors.replace(part, target)
    else:
        move(part, target, sha256)
    _sync_folder(target)


def is_placeholder(path: str, began: float) -> bool:
    """Whether an empty file at `path` is one with which a move that began then (seconds since 1970) held the place."""
    state = look(path)
    if state is None or not state.is_file or state.size or state.mode & 0o777 != _PRIVATE:
        return False
    return state.ctime_ns >= (began - _CLOCK_SLACK) * 1e9


def drop_placeholder(path: str, began: float) -> None:
    """Remove the empty file with which a move back that was cut off held the place. Raises OSError."""
    if is_placeholder(path, began):
        descriptors.unlink(path)


def clean_up(target: str) -> None:
    """Remove what an interrupted move or copy to `target` left beside it."""
    with suppress(OSError):
        descriptors.unlink(part_of(target))


def make_folders(folder: str, root: str) -> None:
    """Make a folder that was removed, and those above it up to `root`, as long as that is there. Raises OSError."""
    if look(root) is None or not is_inside(folder, root):
        return
    missing: list[str] = []
    while folder != root and look(folder) is None:
        missing.append(folder)
        folder = os.path.dirname(folder)
    for one in reversed(missing):
        descriptors.make_folder(one)


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
