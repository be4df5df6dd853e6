"""The actions on duplicates: trash, move, links and delete, each with its reversal.

`revert` inspects the files, not the journal: after a kill the journal does not show whether the last step was done.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from clipcli.errors import UsageError, did_you_mean
from clipcli.plan import descriptors, safe_move, trashcan
from clipcli.plan.file_state import holds, look
from clipcli.plan.safe_move import FreeNames

if TYPE_CHECKING:
    from clipcli.plan.journal_lines import Step
    from clipcli.plan.plan_file import PlanRow

KINDS: Final = ("hardlink", "reflink", "symlink")
_FICLONE: Final = 0x40049409
"""Linux's ioctl that makes a file share another's blocks (btrfs, xfs, bcachefs)."""


class Link:
    """Replaces a file with a link. The link is made beside the file and renamed over it, so the path always exists."""

    same_bytes_only = True

    def __init__(self, name: str) -> None:
        self.name = name

    def can_undo(self, *, same_bytes: bool) -> bool:
        """Return `same_bytes`, since a link needs a keeper with the same bytes."""
        return same_bytes

    def target_of(self, _row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """Return no target: the link stays at the path of the file."""
        return "", ()

    def act(self, step: Step) -> None:
        """Make the link, then rename it over the file, which keeps its quarantine name until `finish`."""
        fresh = safe_move.part_of(step.path)
        safe_move.clean_up(step.path)
        try:
            self._make(step, fresh)
            safe_move.link_to_quarantine(step)
            descriptors.replace(fresh, step.path)
        except OSError:
            safe_move.clean_up(step.path)
            raise

    def finish(self, step: Step) -> None:
        """Remove the file under its quarantine name."""
        safe_move.discard(step)

    def is_done(self, step: Step) -> bool:
        """Return whether the path is the link and the quarantine name is gone."""
        return self._is_linked(step) and not safe_move.is_quarantined(step)

    def revert(self, step: Step) -> str:
        """Replace the link by a copy of the keeper with the attributes of the file."""
        safe_move.clean_up(step.path)
        if step.size:
            safe_move.drop_placeholder(step.path, step.began)
        if safe_move.restore(step, over=self._is_linked(step)):
            return ""
        if not self._is_linked(step):
            if holds(step.path, step.sha256):
                return ""
            raise CannotUndoError("another file has its name now" if look(step.path) else "it no longer exists")
        if self.name == "reflink":
            return "" if step.state == "begun" else "it is a file of its own that shares disk blocks"
        if not holds(step.keeper, step.sha256):
            raise CannotUndoError("the file it links to has changed")
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
        state, keeper = look(step.path), look(step.keeper)
        if state is None:
            return False
        if self.name == "symlink":  # also a broken link
            return state.is_link and descriptors.readlink(step.path) == _relative(step)
        if self.name == "hardlink":
            return keeper is not None and state.is_same(keeper)
        return state.inode != step.inode and holds(step.path, step.sha256)


def _relative(step: Step) -> str:
    """Return the resolved path of the keeper relative to the link, so that the whole tree can be moved."""
    return os.path.relpath(step.keeper, os.path.dirname(step.path))


def _clone(step: Step, fresh: str) -> None:
    try:
        from fcntl import ioctl
    except ImportError as error:
        raise OSError(errno.ENOTSUP, "reflinks are supported on Linux only") from error
    with (
        open(descriptors.open_to_read(step.keeper), "rb") as source,
        open(descriptors.create(fresh), "wb") as clone,
    ):
        try:
            ioctl(clone.fileno(), _FICLONE, source.fileno())
        except OSError as error:
            if error.errno in {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV}:
                raise OSError(error.errno, "this file system has no reflinks") from error
            raise
        step.attributes.put_on(clone.fileno(), fresh)
        os.fsync(clone.fileno())
    if not holds(fresh, step.sha256):
        raise safe_move.ChangedWhileCopiedError(errno.EIO, "its bytes differ from the plan")


NAMES: Final = ("trash", "move:DIR", "hardlink", "reflink", "symlink", "delete")


class CannotUndoError(Exception):
    """Raised with the reason why a file cannot be restored."""


class Action(Protocol):
    """One way to remove a file, in two steps, with a last check between them."""

    @property
    def name(self) -> str:
        """Return the name in the journal."""
        ...

    @property
    def same_bytes_only(self) -> bool:
        """Return whether the keeper replaces the file, so that it must have the same bytes."""
        ...

    def can_undo(self, *, same_bytes: bool) -> bool:
        """Return whether `undo` can restore a file; `same_bytes`: the keeper has the same bytes."""
        ...

    def target_of(self, row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """Return the path the file moves to, and the folders to create; empty for most actions. Raises OSError."""
        ...

    def act(self, step: Step) -> None:
        """Do the part that `revert` can undo completely, also after an OSError at any point."""
        ...

    def finish(self, step: Step) -> None:
        """Do the rest, after the last check. Raises OSError."""
        ...

    def is_done(self, step: Step) -> bool:
        """Return whether the files are in the state after `finish`."""
        ...

    def revert(self, step: Step) -> str:
        """Restore the file and return how; `""` if it was not removed. Raises CannotUndoError, OSError."""
        ...


def parse_action(text: str) -> Action:
    """Return the action `trash`, `move:DIR`, `hardlink`, `reflink`, `symlink` or `delete`.

    Raises:
        UsageError: there is no such action, or `move` has no folder.
    """
    name, _, folder = text.partition(":")
    if name == "move":
        if not folder:
            raise UsageError("--action move needs a folder", hint="for example --action move:duplicates/")
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
    """Return the action of a step in a journal. Raises UsageError."""
    return parse_action(f"move:{os.path.dirname(step.target)}" if step.action == "move" else step.action)


class Delete:
    """Deletes the file. Only a keeper with the same bytes can restore it."""

    name = "delete"
    same_bytes_only = False

    def can_undo(self, *, same_bytes: bool) -> bool:
        """Return `same_bytes`: only a keeper with the same bytes can restore the file."""
        return same_bytes

    def target_of(self, _row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """Return no target."""
        return "", ()

    def act(self, step: Step) -> None:
        """Rename the file to its quarantine name."""
        safe_move.quarantine(step)

    def finish(self, step: Step) -> None:
        """Delete the quarantined file; a link is not followed."""
        safe_move.discard(step)

    def is_done(self, step: Step) -> bool:
        """Return whether neither the path nor the quarantine name exists."""
        return look(step.path) is None and not safe_move.is_quarantined(step)

    def revert(self, step: Step) -> str:
        """Copy the file from a keeper with the same bytes."""
        if _is_back(step):
            return ""
        return _copy_from_keeper(step, "it was deleted for good")


class Trash:
    """Moves the file to the desktop's trash."""

    name = "trash"
    same_bytes_only = False

    def __init__(self) -> None:
        self._trashcan = trashcan.Trashcan()

    def can_undo(self, *, same_bytes: bool) -> bool:
        """Return True if this system's trash can be read; otherwise as for `Delete`."""
        return trashcan.IS_OURS or same_bytes

    def target_of(self, _row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """Return no target, since the trash chooses the name."""
        return "", ()

    def act(self, step: Step) -> None:
        """Quarantine the file, check it once more, and put it into the trash."""
        trashcan.refuse_read_only(step.path)
        safe_move.quarantine(step)
        trashcan.put(step)

    def finish(self, step: Step) -> None:
        """Do nothing: the file is in the trash."""

    def is_done(self, step: Step) -> bool:
        """Return whether neither the path nor the quarantine name exists."""
        return look(step.path) is None and not safe_move.is_quarantined(step)

    def revert(self, step: Step) -> str:
        """Restore the file from the trash, or from a keeper with the same bytes if the trash was emptied."""
        if _is_back(step):
            return ""
        trashed = self._trashcan.find(step.path, step.sha256)
        if trashed is None:
            return _copy_from_keeper(step, "it is no longer in the trash")
        _move_back(trashed[0], step)
        trashcan.forget(trashed[1])
        return "from the trash"


class Move:
    """Moves the file into a folder, under its path relative to the searched folder."""

    name = "move"
    same_bytes_only = False

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self._free_names = FreeNames(self.folder)

    def can_undo(self, *, same_bytes: bool) -> bool:  # noqa: ARG002 - it is moved back
        """Return True: a moved file can always be moved back."""
        return True

    def target_of(self, row: PlanRow) -> tuple[str, tuple[str, ...]]:
        """Return a free path in the folder, and the folders to create. Raises OSError if it is the file's own path."""
        below = os.path.relpath(row.path, row.root)
        if os.path.join(self.folder, below) == row.path:
            raise OSError(errno.EEXIST, f"it is in {self.folder} already")
        return self._free_names.of(below)

    def act(self, step: Step) -> None:
        """Make the target folders, quarantine the file, check it once more, and move it."""
        for folder in step.made:
            descriptors.make_folder(folder)
        safe_move.quarantine(step)
        safe_move.move(safe_move.quarantine_path(step.path), step.target, step.sha256)

    def finish(self, step: Step) -> None:
        """Do nothing: the file is at its target."""

    def is_done(self, step: Step) -> bool:
        """Return whether the file is at its target and no longer at its path."""
        return look(step.path) is None and not safe_move.is_quarantined(step) and holds(step.target, step.sha256)

    def revert(self, step: Step) -> str:
        """Move the file back; remove the part or empty file that an interrupted move left."""
        safe_move.clean_up(step.target)
        if _is_back(step):
            if step.state != "failed" and _is_ours(step):
                descriptors.unlink(step.target)
            safe_move.remove_empty(step.made)
            return ""
        if not holds(step.target, step.sha256):
            problem = "has changed" if look(step.target) else "no longer exists"
            return _copy_from_keeper(step, f"{step.target} {problem}")
        _move_back(step.target, step)
        safe_move.remove_empty(step.made)
        return f"from {step.target}"


def _is_back(step: Step) -> bool:
    """Clean up after an interruption and return whether the file is at its path.

    Raises:
        CannotUndoError: another file is at its path.
    """
    safe_move.clean_up(step.path)
    if step.size or (step.target and holds(step.target, step.sha256)):
        safe_move.drop_placeholder(step.path, step.began)
    safe_move.restore(step, over=False)
    if look(step.path) is None:
        return False
    if not holds(step.path, step.sha256):
        raise CannotUndoError("another file has its name now")
    return True


def _move_back(source: str, step: Step) -> None:
    safe_move.make_folders(os.path.dirname(step.path), step.root)
    safe_move.move(source, step.path, step.sha256)


def _is_ours(step: Step) -> bool:
    """Return whether this step put the file at the target: an empty placeholder or a complete copy."""
    if safe_move.is_placeholder(step.target, step.began):
        return True
    state = look(step.target)
    return bool(state and state.ctime_ns >= (step.began - 2) * 1e9) and holds(step.target, step.sha256)


def _copy_from_keeper(step: Step, otherwise: str) -> str:
    if not holds(step.keeper, step.sha256):
        raise CannotUndoError(f"{otherwise}, and the kept file has other bytes")
    safe_move.make_folders(os.path.dirname(step.path), step.root)
    safe_move.copy(step.keeper, step.path, step.sha256, step.attributes, over=False)
    return f"copied from {step.keeper}"


def revert_failed(step: Step) -> None:
    """Revert a failed step as far as possible."""
    with suppress(CannotUndoError, OSError):
        action_of(step).revert(replace(step, state="failed"))
