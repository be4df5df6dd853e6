"""The keeper takes a file's place: as a second name, a shared copy, or a symbolic link."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from clipcli.plan import asides, descriptors, moving
from clipcli.plan.states import holds, look

if TYPE_CHECKING:
    from clipcli.plan.rows import PlanRow
    from clipcli.plan.steps import Step

KINDS: Final = ("hardlink", "reflink", "symlink")
_FICLONE: Final = 0x40049409
"""Linux's ioctl that makes a file share another's blocks (btrfs, xfs, bcachefs)."""


class Link:
    """A link is made beside the file and then takes its name in one step, so there is never a moment without a file."""

    same_bytes_only = True

    def __init__(self, name: str) -> None:
        self.name = name

    def can_undo(self, *, same_bytes: bool) -> bool:
        """Nothing but copies become links."""
        return same_bytes

    def place(self, _row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """It stays where it is."""
        return "", ()

    def act(self, step: Step) -> None:
        """Make the link, then let it replace the file, which has a second name until it is let go of."""
        fresh = moving.part_of(step.path)
        moving.clean_up(step.path)
        try:
            self._make(step, fresh)
            asides.name_aside(step)
            descriptors.replace(fresh, step.path)
        except OSError:
            moving.clean_up(step.path)
            raise

    def finish(self, step: Step) -> None:
        """The file itself goes."""
        asides.let_go(step)

    def is_done(self, step: Step) -> bool:
        """The file is the link now, and waits no longer."""
        return self._is_linked(step) and not asides.waits(step)

    def revert(self, step: Step) -> str:
        """A copy of the keeper takes the link's place, with what the file had besides its bytes."""
        from clipcli.plan.actions import CannotUndoError

        moving.clean_up(step.path)
        if step.size:
            moving.drop_placeholder(step.path, step.began)
        if asides.bring_back(step, over=self._is_linked(step)):
            return ""
        if not self._is_linked(step):
            if holds(step.path, step.sha256):
                return ""
            raise CannotUndoError("another file has its name now" if look(step.path) else "it is gone")
        if self.name == "reflink":
            return "" if step.state == "begun" else "it never shared more than its blocks"
        if not holds(step.keeper, step.sha256):
            raise CannotUndoError("the file it links to has changed since")
        moving.copy(step.keeper, step.path, step.sha256, step.attributes, over=True)
        return "the link became a file again"

    def _make(self, step: Step, fresh: str) -> None:
        if self.name == "symlink":
            descriptors.symlink(_relative(step), fresh)
        elif self.name == "reflink":
            _clone(step, fresh)
        else:
            descriptors.link(step.keeper, fresh)

    def _is_linked(self, step: Step) -> bool:
        here, keeper = look(step.path), look(step.keeper)
        if here is None:
            return False
        if self.name == "symlink":  # also when it leads nowhere
            return here.is_link and descriptors.readlink(step.path) == _relative(step)
        if self.name == "hardlink":
            return keeper is not None and here.is_same(keeper)
        return here.inode != step.inode and holds(step.path, step.sha256)


def _relative(step: Step) -> str:
    """The keeper as seen from the link, so that the tree may move as a whole. Folders are resolved in both."""
    return os.path.relpath(step.keeper, os.path.dirname(step.path))


def _clone(step: Step, fresh: str) -> None:
    try:
        from fcntl import ioctl
    except ImportError as error:
        raise OSError(errno.ENOTSUP, "shared copies are made on Linux only") from error
    with (
        open(descriptors.open_to_read(step.keeper), "rb") as kept,
        open(descriptors.create(fresh), "wb") as made,
    ):
        try:
            ioctl(made.fileno(), _FICLONE, kept.fileno())
        except OSError as error:
            if error.errno in {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV}:
                raise OSError(error.errno, "this file system has no shared copies") from error
            raise
        step.attributes.put_on(made.fileno(), fresh)
        os.fsync(made.fileno())
    if not holds(fresh, step.sha256):
        raise moving.ChangedWhileCopiedError(errno.EIO, "the bytes are not those that were planned")
