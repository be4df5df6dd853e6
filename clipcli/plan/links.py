"""The keeper takes a file's place: as a second name, a shared copy, or a symbolic link."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipcli.plan import moving
from clipcli.plan.states import holds, look

if TYPE_CHECKING:
    from clipcli.plan.journal import Step
    from clipcli.plan.rows import PlanRow

KINDS: Final = ("hardlink", "reflink", "symlink")
_FICLONE: Final = 0x40049409
"""Linux's ioctl that makes a file share another's blocks (btrfs, xfs, bcachefs)."""


class Link:
    """A link is made beside the file and then takes its name in one step, so there is never a moment without a file."""

    same_bytes_only = True

    def __init__(self, name: str) -> None:
        self.name = name

    def place(self, _row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """It stays where it is."""
        return "", ()

    def act(self, step: Step) -> None:
        """Make the link, then let it replace the file."""
        fresh = step.path + moving.PART
        moving.clean_up(step.path)
        try:
            if self.name == "hardlink":
                os.link(step.keeper, fresh, follow_symlinks=False)
            elif self.name == "symlink":
                Path(fresh).symlink_to(_relative(step))
            else:
                _clone(step, fresh)
            os.replace(fresh, step.path)
        except OSError:
            moving.clean_up(step.path)
            raise

    def is_done(self, step: Step) -> bool:
        """The file is the link now. A shared copy cannot be told from the file, so it counts as done."""
        here, keeper = look(step.path), look(step.keeper)
        if here is None or keeper is None:
            return False
        if self.name == "symlink":
            return here.is_link and os.readlink(step.path) == _relative(step)
        if self.name == "hardlink":
            return (here.device, here.inode) == (keeper.device, keeper.inode)
        return holds(step.path, step.sha256)

    def revert(self, step: Step) -> str:
        """A copy of the keeper takes the link's place, with the mode and time that the file had."""
        from clipcli.plan.actions import CannotUndoError

        moving.clean_up(step.path)
        if not self.is_done(step):
            if holds(step.path, step.sha256):
                return ""
            raise CannotUndoError("another file has its name now" if look(step.path) else "it is gone")
        if self.name == "reflink":
            return "" if step.state == "begun" else "it never shared more than its blocks"
        if not holds(step.keeper, step.sha256):
            raise CannotUndoError("the file it links to has changed since")
        moving.copy(step.keeper, step.path, step.sha256, mode=step.mode, mtime_ns=step.mtime_ns)
        return "the link became a file again"


def _relative(step: Step) -> str:
    """The keeper as seen from the link, so that the tree may move as a whole. Folders are resolved in both."""
    return os.path.relpath(step.keeper, os.path.dirname(step.path))


def _clone(step: Step, fresh: str) -> None:
    try:
        from fcntl import ioctl
    except ImportError as error:
        raise OSError(errno.ENOTSUP, "shared copies are made on Linux only") from error
    with (
        open(step.keeper, "rb") as kept,
        open(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as made,
    ):
        try:
            ioctl(made.fileno(), _FICLONE, kept.fileno())
        except OSError as error:
            if error.errno in {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV}:
                raise OSError(error.errno, "this file system has no shared copies") from error
            raise
        os.fsync(made.fileno())
    if not holds(fresh, step.sha256):
        raise moving.ChangedWhileCopiedError(errno.EIO, "the bytes are not those that were planned")
    os.chmod(fresh, step.mode)
    with suppress(OSError):
        os.utime(fresh, ns=(step.mtime_ns, step.mtime_ns))
