"""Make a bundle appear whole or not at all."""

from __future__ import annotations

import dataclasses
import errno
import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from clipcli.bundle import contents
from clipcli.bundle.manifest import FileEntry, Manifest, to_json
from clipcli.core.files import is_file, is_folder, is_there
from clipcli.errors import BundleError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STALE_S = 24 * 3600.0


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder` to be filled and sealed; it becomes `folder` when the block ends well.

    An error, Ctrl-C or a full disk leaves `folder` as it was and nothing beside it. When two processes make the same
    bundle both succeed and one of the two equal results stays. An older bundle in its place is replaced.

    Raises:
        OutputError: nothing can be written, or `folder` holds something that is not a bundle.
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
            # After a successful install nothing is left here to remove.
            shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: the bundle cannot be written: {error.strerror or error}",
            hint="Nothing was left behind. Check free space and permissions, or name another folder with -o.",
        ) from error


def refuse_foreign(folder: Path) -> None:
    """Never replace what we did not make: an existing target must be a bundle or an empty folder.

    Raises:
        OutputError: it is something else.
    """
    if is_folder(folder):
        if contents.is_bundle(folder) or not any(folder.iterdir()):
            return
        raise OutputError(f"{folder}: already there, and not a bundle", hint="Name a new folder with -o.")
    if is_there(folder):
        raise OutputError(f"{folder}: already there, and not a folder", hint="Name a new folder with -o.")


def seal(stage: Path, manifest: Manifest) -> Manifest:
    """Write manifest.json over every file in the stage, and flush all to disk. Returns it with the files filled in."""
    names = sorted(path.name for path in stage.iterdir() if path.name != contents.MANIFEST)
    sealed = dataclasses.replace(manifest, files=tuple(_entry(stage / name) for name in names))
    (stage / contents.MANIFEST).write_text(to_json(sealed), encoding="utf-8")
    for name in (*names, contents.MANIFEST):
        _flush(stage / name)
    return sealed


def _entry(path: Path) -> FileEntry:
    return FileEntry(path.name, path.stat().st_size, contents.sha256(path))


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _install(stage: Path, folder: Path) -> None:
    """Rename the stage into place; a rival's equal bundle is as good as ours, any other bundle is replaced."""
    for _ in range(8):
        try:
            _rename(stage, folder)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM} or not is_folder(folder):
                raise
        else:
            return
        if _as_good(folder, stage):
            return
        refuse_foreign(folder)
        _carry_over(folder, stage)
        _remove(folder, stage.with_name(f"{stage.name}.old"))
    raise OutputError(f"{folder}: other processes keep replacing it", hint="Let them finish, then try again.")


def _carry_over(folder: Path, stage: Path) -> None:
    """What people put beside a bundle (a model card, a licence) stays when the bundle is replaced."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if is_file(path) and not is_there(stage / path.name):
                shutil.copy2(path, stage / path.name)


def _remove(folder: Path, aside: Path) -> None:
    """Take a bundle out of the way in one step, so that nobody ever reads half of it."""
    # A rival may have moved it away already: then there is nothing left to move.
    with suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _rename(stage: Path, folder: Path) -> None:
    # POSIX renames onto an empty folder, Windows does not.
    if os.name == "nt":
        with suppress(OSError):
            folder.rmdir()
    stage.rename(folder)


def _as_good(folder: Path, stage: Path) -> bool:
    """Return whether an intact bundle of the same model, files and all, is there already."""
    try:
        return contents.read(folder).manifest == contents.read(stage).manifest
    except BundleError:
        return False


def _sweep(folder: Path) -> None:
    """Remove stages that killed processes left a day ago or earlier."""
    if not is_folder(folder.parent):
        return
    for old in folder.parent.glob(f".{folder.name}.part-*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _STALE_S:
                shutil.rmtree(old, ignore_errors=True)
