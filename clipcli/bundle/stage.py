"""Write a bundle completely or not at all."""

from __future__ import annotations

import dataclasses
import errno
import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from clipcli.bundle.bundle import MANIFEST, FileEntry, Manifest, is_bundle, read, sha256, to_json
from clipcli.core.files import is_file, is_folder, is_there
from clipcli.errors import BundleError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STALE_S = 24 * 3600.0


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a new folder to fill and seal; it becomes `folder` when the block ends without an error.

    An error, Ctrl-C or a full disk leaves `folder` unchanged and no other files. If two processes make the same
    bundle, both succeed and one of the two equal results stays. An older bundle is replaced.

    Raises:
        OutputError: the bundle cannot be written, or `folder` holds something that is not a bundle.
    """
    folder = folder.resolve()
    refuse_foreign(folder)
    stage = folder.with_name(f".{folder.name}.part-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        try:
            _sweep(folder)
            stage.mkdir(parents=True)
            yield stage
            _install(stage, folder)
        finally:
            # After a successful install the stage no longer exists.
            shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: the bundle cannot be written: {error.strerror or error}",
            hint="check free space and permissions, or name another folder with -o; the unfinished bundle was removed",
        ) from error


def refuse_foreign(folder: Path) -> None:
    """Refuse a target that is neither new, nor a bundle, nor an empty folder.

    Raises:
        OutputError: the target is something else.
    """
    if is_folder(folder):
        if is_bundle(folder) or not any(folder.iterdir()):
            return
        raise OutputError(f"{folder}: exists and is not a bundle", hint="name a new folder with -o")
    if is_there(folder):
        raise OutputError(f"{folder}: exists and is not a folder", hint="name a new folder with -o")


def seal(stage: Path, manifest: Manifest) -> Manifest:
    """Write manifest.json with every file of the stage and flush all to disk; return the complete manifest."""
    names = sorted(path.name for path in stage.iterdir() if path.name != MANIFEST)
    sealed = dataclasses.replace(manifest, files=tuple(_entry(stage / name) for name in names))
    (stage / MANIFEST).write_text(to_json(sealed), encoding="utf-8")
    for name in (*names, MANIFEST):
        _flush(stage / name)
    return sealed


def _entry(path: Path) -> FileEntry:
    return FileEntry(path.name, path.stat().st_size, sha256(path))


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _install(stage: Path, folder: Path) -> None:
    """Rename the stage to `folder`; keep an equal bundle of another process, replace any other bundle."""
    for _ in range(8):
        try:
            _rename(stage, folder)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM} or not is_folder(folder):
                raise
        else:
            return
        if _is_equal(folder, stage):
            return
        refuse_foreign(folder)
        _copy_other_files(folder, stage)
        _remove(folder, stage.with_name(f"{stage.name}.old"))
    raise OutputError(f"{folder}: other processes keep replacing it", hint="let them finish, then try again")


def _copy_other_files(folder: Path, stage: Path) -> None:
    """Copy files that people added to the old bundle (a model card, a licence)."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if is_file(path) and not is_there(stage / path.name):
                shutil.copy2(path, stage / path.name)


def _remove(folder: Path, aside: Path) -> None:
    """Rename a bundle to `aside` in one step, so that nobody reads half of it, then delete it."""
    # Another process may have moved it already.
    with suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _rename(stage: Path, folder: Path) -> None:
    # POSIX renames onto an empty folder, Windows does not.
    if os.name == "nt":
        with suppress(OSError):
            folder.rmdir()
    stage.rename(folder)


def _is_equal(folder: Path, stage: Path) -> bool:
    """Return whether `folder` holds an intact bundle with the same manifest."""
    try:
        return read(folder).manifest == read(stage).manifest
    except BundleError:
        return False


def _sweep(folder: Path) -> None:
    """Remove stages older than a day, left by killed processes."""
    if not is_folder(folder.parent):
        return
    for old in folder.parent.glob(f".{folder.name}.part-*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _STALE_S:
                shutil.rmtree(old, ignore_errors=True)
