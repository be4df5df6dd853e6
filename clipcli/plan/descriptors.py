"""System calls on files through descriptors of their folders, opened without following links.

Every system call resolves its path again. A user who may write to a parent folder can replace it with a link between
two calls, so that the second call acts on another file. Therefore each folder is opened from the root, one component at
a time, never through a link, and calls name the file relative to its descriptor. `held` keeps the descriptors during
one step, so that all its calls act in the same folders even if these are moved.

Windows has no such calls; plain paths are used there.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BY_DESCRIPTOR: Final = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY") and hasattr(os, "O_NOFOLLOW")
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
"""O_PATH needs no permission to list the folder."""
_open_folders: ContextVar[dict[str, int] | None] = ContextVar("held", default=None)


@contextmanager
def held() -> Iterator[None]:
    """Keep the descriptor of each folder used inside the block, and close them at its end."""
    if _open_folders.get() is not None:
        yield
        return
    folders: dict[str, int] = {}
    token = _open_folders.set(folders)
    try:
        yield
    finally:
        _open_folders.reset(token)
        for descriptor in folders.values():
            os.close(descriptor)


def lstat(path: str) -> os.stat_result:
    """Return the status of a file without following a link. Raises OSError, ValueError."""
    with _parent_of(path) as (folder, name):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


def readlink(path: str) -> str:
    """Return the target of a symbolic link. Raises OSError."""
    with _parent_of(path) as (folder, name):
        return os.readlink(name, dir_fd=folder)


def open_to_read(path: str) -> int:
    """Open a file without following a link; opening a pipe does not block. Raises OSError."""
    with _parent_of(path) as (folder, name):
        return os.open(name, os.O_RDONLY | _NO_LINK | _BINARY | getattr(os, "O_NONBLOCK", 0), dir_fd=folder)


def create(path: str, mode: int = 0o600) -> int:
    """Create a new file and open it for writing. Raises OSError, also if the name exists."""
    with _parent_of(path) as (folder, name):
        return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_LINK | _BINARY, mode, dir_fd=folder)


def rename(source: str, target: str) -> None:
    """Rename a file. Raises OSError."""
    with _parents_of(source, target) as (old, name, new, new_name):
        os.rename(name, new_name, src_dir_fd=old, dst_dir_fd=new)


def replace(source: str, target: str) -> None:
    """Rename a file over another one. Raises OSError."""
    with _parents_of(source, target) as (old, name, new, new_name):
        os.replace(name, new_name, src_dir_fd=old, dst_dir_fd=new)


def link(source: str, target: str) -> None:
    """Make a hard link; a symbolic link is not followed. Raises OSError."""
    with _parents_of(source, target) as (old, name, new, new_name):
        if os.link in os.supports_follow_symlinks:
            os.link(name, new_name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
        else:
            os.link(name, new_name, src_dir_fd=old, dst_dir_fd=new)


def symlink(text: str, path: str) -> None:
    """Make a symbolic link with this text. Raises OSError."""
    with _parent_of(path) as (folder, name):
        os.symlink(text, name, dir_fd=folder)


def unlink(path: str) -> None:
    """Remove a name. Raises OSError."""
    with _parent_of(path) as (folder, name):
        os.unlink(name, dir_fd=folder)


def rmdir(path: str) -> None:
    """Remove an empty folder. Raises OSError."""
    with _parent_of(path) as (folder, name):
        os.rmdir(name, dir_fd=folder)
    folders = _open_folders.get() or {}
    if (descriptor := folders.pop(os.path.abspath(path), None)) is not None:  # the folder may be created again
        os.close(descriptor)


def make_folder(path: str, mode: int = 0o777) -> None:
    """Create a folder if it does not exist; if root creates it, it gets the owner of its parent.

    Raises:
        OSError: it cannot be created, or the name is a link or a file.
    """
    with _parent_of(path) as (folder, name):
        try:
            os.mkdir(name, mode, dir_fd=folder)
        except FileExistsError:
            if not os.path.isdir(path) or os.path.islink(path):
                raise
            return
        if folder is not None and os.geteuid() == 0:
            above = os.stat(folder)
            os.chown(name, above.st_uid, above.st_gid, dir_fd=folder, follow_symlinks=False)


def sync_folder(path: str) -> None:
    """Make the names in the folder of a file durable. Raises OSError."""
    if not _BY_DESCRIPTOR:
        return
    with _parent_of(path) as (folder, _):
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _parent_of(path: str) -> Iterator[tuple[int | None, str]]:
    """Yield the descriptor of the parent folder and the file name; errors inside the block name the whole path."""
    folder, name = os.path.split(os.path.abspath(path))
    folders = _open_folders.get()
    open_already = folders.get(folder) if folders is not None else None
    if not _BY_DESCRIPTOR or not name:
        yield None, path
        return
    descriptor = _open_folder(folder) if open_already is None else open_already
    if folders is not None:
        folders[folder] = descriptor
    try:
        yield descriptor, name
    except OSError as error:
        if error.filename2 is None and isinstance(error.filename, str) and not os.path.isabs(error.filename):
            error.filename = path
        raise
    finally:
        if folders is None:
            os.close(descriptor)


@contextmanager
def _parents_of(source: str, target: str) -> Iterator[tuple[int | None, str, int | None, str]]:
    """Yield the parents and names for a call with two paths."""
    with _parent_of(source) as (old, name), _parent_of(target) as (new, new_name):
        try:
            yield old, name, new, new_name
        except OSError as error:
            if error.filename == name and error.filename2 == new_name:
                error.filename, error.filename2 = source, target
            raise


def _open_folder(path: str) -> int:
    """Open a folder one component at a time, without following links. Raises OSError."""
    descriptor = os.open(os.sep, _FOLDER)
    try:
        for part in path.split(os.sep):
            if part:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
    except OSError as error:
        os.close(descriptor)
        if error.errno in {errno.ELOOP, errno.ENOTDIR} and os.path.realpath(path) != path:
            raise OSError(errno.ELOOP, "a folder above it is a link now", path) from error
        error.filename = path
        raise
    return descriptor
