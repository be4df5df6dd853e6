"""Trash, move, links, delete: how each is done and how it is taken back.

Taking back looks at the files, not at what the journal believes: after a kill nobody knows whether the last step was
taken.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from clipcli.core.suggest import did_you_mean
from clipcli.errors import UsageError
from clipcli.plan import descriptors, quarantine, safe_move, trashcan
from clipcli.plan.file_state import holds, look
from clipcli.plan.free_names import FreeNames

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
        fresh = safe_move.part_of(step.path)
        safe_move.clean_up(step.path)
        try:
            self._make(step, fresh)
            quarantine.name_aside(step)
            descriptors.replace(fresh, step.path)
        except OSError:
            safe_move.clean_up(step.path)
            raise

    def finish(self, step: Step) -> None:
        """The file itself goes."""
        quarantine.let_go(step)

    def is_done(self, step: Step) -> bool:
        """The file is the link now, and waits no longer."""
        return self._is_linked(step) and not quarantine.waits(step)

    def revert(self, step: Step) -> str:
        """A copy of the keeper takes the link's place, with what the file had besides its bytes."""
        safe_move.clean_up(step.path)
        if step.size:
            safe_move.drop_placeholder(step.path, step.began)
        if quarantine.bring_back(step, over=self._is_linked(step)):
            return ""
        if not self._is_linked(step):
            if holds(step.path, step.sha256):
                return ""
            raise CannotUndoError("another file has its name now" if look(step.path) else "it is gone")
        if self.name == "reflink":
            return "" if step.state == "begun" else "it never shared more than its blocks"
        if not holds(step.keeper, step.sha256):
            raise CannotUndoError("the file it links to has changed since")
        safe_move.copy(step.keeper, step.path, step.sha256, step.attributes, over=True)
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
        raise safe_move.ChangedWhileCopiedError(errno.EIO, "the bytes are not those that were planned")


NAMES: Final = ("trash", "move:DIR", "hardlink", "reflink", "symlink", "delete")


class CannotUndoError(Exception):
    """Why a file cannot be brought back."""


class Action(Protocol):
    """One way to be rid of a file, in two steps, so that everything can be looked at once more in between."""

    @property
    def name(self) -> str:
        """As in the journal."""
        ...

    @property
    def same_bytes_only(self) -> bool:
        """Whether the keeper takes the file's place, so that nothing but a copy may go."""
        ...

    def can_undo(self, *, same_bytes: bool) -> bool:
        """Whether `undo` can bring a file back; `same_bytes`: what is kept has the same bytes."""
        ...

    def place(self, row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """Where the file goes, and the folders that must be made for it; nothing for most actions. Raises OSError."""
        ...

    def act(self, step: Step) -> None:
        """Do what can be taken back. May raise OSError at any point; `revert` then finds everything as it was."""
        ...

    def finish(self, step: Step) -> None:
        """Do the rest. Raises OSError."""
        ...

    def is_done(self, step: Step) -> bool:
        """Whether the files look as they do afterwards."""
        ...

    def revert(self, step: Step) -> str:
        """Bring the file back and say how, or `""` when it was never away. Raises CannotUndoError, OSError."""
        ...


def parse_action(text: str) -> Action:
    """`trash`, `move:DIR`, `hardlink`, `reflink`, `symlink` or `delete`.

    Raises:
        UsageError: no such action, or `move` without a folder.
    """
    name, _, folder = text.partition(":")
    if name == "move":
        if not folder:
            raise UsageError("--action move needs a folder", hint="as in --action move:duplicates/")
        return Move(os.path.abspath(folder))
    simple: dict[str, Action] = {
        "trash": Trash(),
        "delete": Delete(),
        **{kind: Link(kind) for kind in KINDS},
    }
    if text not in simple:
        raise UsageError(f"no action {text!r}", hint=did_you_mean(text, NAMES) or "one of " + ", ".join(NAMES))
    return simple[text]


def action_of(step: Step) -> Action:
    """The action that a journal's step names. Raises UsageError."""
    return parse_action(f"move:{os.path.dirname(step.target)}" if step.action == "move" else step.action)


class Delete:
    """Gone for good, unless a copy of the same bytes was kept."""

    name = "delete"
    same_bytes_only = False

    def can_undo(self, *, same_bytes: bool) -> bool:
        """Copied from the keeper, if that has the same bytes."""
        return same_bytes

    def place(self, _row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """Nowhere."""
        return "", ()

    def act(self, step: Step) -> None:
        """Rename it."""
        quarantine.take_aside(step)

    def finish(self, step: Step) -> None:
        """Unlink: that removes a name and follows nothing."""
        quarantine.let_go(step)

    def is_done(self, step: Step) -> bool:
        """Nothing is there."""
        return look(step.path) is None and not quarantine.waits(step)

    def revert(self, step: Step) -> str:
        """Copied from the keeper when it has the same bytes."""
        if _is_back(step):
            return ""
        return _copy_from_keeper(step, "it was deleted for good")


class Trash:
    """Into the desktop's trash."""

    name = "trash"
    same_bytes_only = False

    def __init__(self) -> None:
        self._can = trashcan.Trashcan()

    def can_undo(self, *, same_bytes: bool) -> bool:
        """From the trash, where it can be found there; else as for `Delete`."""
        return trashcan.IS_OURS or same_bytes

    def place(self, _row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """The system chooses."""
        return "", ()

    def act(self, step: Step) -> None:
        """Rename it, look at it once more, then as the system does it."""
        trashcan.refuse_read_only(step.path)
        quarantine.take_aside(step)
        trashcan.put(step)

    def finish(self, step: Step) -> None:
        """It waits in the trash."""

    def is_done(self, step: Step) -> bool:
        """Nothing is there."""
        return look(step.path) is None and not quarantine.waits(step)

    def revert(self, step: Step) -> str:
        """From the trash, or copied from a keeper of the same bytes when the trash was emptied."""
        if _is_back(step):
            return ""
        found = self._can.find(step.path, step.sha256)
        if found is None:
            return _copy_from_keeper(step, "it is not in the trash any more")
        _move_back(found[0], step)
        trashcan.forget(found[1])
        return "from the trash"


class Move:
    """Into a folder, under the path it had below the folder that was searched."""

    name = "move"
    same_bytes_only = False

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self._places = FreeNames(self.folder)

    def can_undo(self, *, same_bytes: bool) -> bool:  # noqa: ARG002 - it is moved back
        """Always."""
        return True

    def place(self, row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """A free name."""
        return self._places.of(os.path.relpath(row.path, row.root))

    def act(self, step: Step) -> None:
        """Make its folders, rename it, look at it once more, and move it."""
        for folder in step.made:
            descriptors.make_folder(folder)
        quarantine.take_aside(step)
        safe_move.move(quarantine.place_of(step.path), step.target, step.sha256)

    def finish(self, step: Step) -> None:
        """It waits in its new place."""

    def is_done(self, step: Step) -> bool:
        """It is there and no longer here."""
        return look(step.path) is None and not quarantine.waits(step) and holds(step.target, step.sha256)

    def revert(self, step: Step) -> str:
        """Moved back; a move that was cut off leaves a part or an empty file, which goes."""
        safe_move.clean_up(step.target)
        if _is_back(step):
            if step.state != "failed" and _is_ours(step):
                descriptors.unlink(step.target)
            safe_move.remove_empty(step.made)
            return ""
        if not holds(step.target, step.sha256):
            what = "is not as it was moved" if look(step.target) else "is gone"
            return _copy_from_keeper(step, f"{step.target} {what}")
        _move_back(step.target, step)
        safe_move.remove_empty(step.made)
        return f"from {step.target}"


def _is_back(step: Step) -> bool:
    """Whether the file is where it was, after what was cut off is undone. Raises CannotUndoError when another is."""
    safe_move.clean_up(step.path)
    if step.size or (step.target and holds(step.target, step.sha256)):
        safe_move.drop_placeholder(step.path, step.began)
    quarantine.bring_back(step, over=False)
    if look(step.path) is None:
        return False
    if not holds(step.path, step.sha256):
        raise CannotUndoError("another file has its name now")
    return True


def _move_back(source: str, step: Step) -> None:
    safe_move.make_folders(os.path.dirname(step.path), step.root)
    safe_move.move(source, step.path, step.sha256)


def _is_ours(step: Step) -> bool:
    """Whether what is at the target came there by this step: an empty file that held the place, or a whole copy."""
    if safe_move.is_placeholder(step.target, step.began):
        return True
    state = look(step.target)
    return bool(state and state.ctime_ns >= (step.began - 2) * 1e9) and holds(step.target, step.sha256)


def _copy_from_keeper(step: Step, otherwise: str) -> str:
    if not holds(step.keeper, step.sha256):
        raise CannotUndoError(f"{otherwise}, and what was kept is not a copy of the same bytes")
    safe_move.make_folders(os.path.dirname(step.path), step.root)
    safe_move.copy(step.keeper, step.path, step.sha256, step.attributes, over=False)
    return f"copied from {step.keeper}"


def take_back(step: Step) -> None:
    """Undo what a step that failed has done, as far as that can be told."""
    with suppress(CannotUndoError, OSError):
        action_of(step).revert(replace(step, state="failed"))
