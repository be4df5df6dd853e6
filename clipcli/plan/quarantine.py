"""What is to go, under another name until everything was looked at once more: only then its bytes are let go of.

Between the check of a file and the system call that removes it, another program may put a file of its own there, or
take the file that was to be kept. So the file gets a name that nobody else uses, what has that name is compared with
what was planned, the keeper is looked at again, and only then the last name goes. Of two runs that each want to keep
what the other removes, one at least sees that its keeper is gone, and puts its own file back.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from clipcli.plan import descriptors, safe_move
from clipcli.plan.file_state import holds, look

if TYPE_CHECKING:
    from clipcli.plan.steps import Step


def place_of(path: str) -> str:
    """The name beside a file under which it waits."""
    return safe_move.hidden_name(path, "aside")


def take_aside(step: Step) -> None:
    """Rename the file to its waiting name. Raises OSError; the file is at its place then."""
    aside = _free(step.path)
    descriptors.rename(step.path, aside)
    if not is_planned(step, aside):
        try:
            safe_move.move(aside, step.path, step.sha256)
        except OSError as error:
            raise OSError(errno.EBUSY, f"two other files took its name at this moment; one waits as {aside}") from error
        raise _replaced()


def name_aside(step: Step) -> None:
    """Give the file its waiting name too, so that there is never a moment without a file. Raises OSError."""
    aside = _free(step.path)
    try:
        descriptors.link(step.path, aside)
    except OSError:  # a disk without second names
        take_aside(step)
        return
    if not is_planned(step, aside):
        descriptors.unlink(aside)
        raise _replaced()


def bring_back(step: Step, *, over: bool) -> bool:
    """Give a waiting file its place again, `over` what stands there; whether one was waiting.

    Raises:
        OSError: another file has the place; the file waits on.
    """
    aside, here = place_of(step.path), look(step.path)
    waiting = look(aside)
    if waiting is None:
        return False
    if not holds(aside, step.sha256):  # written to through a descriptor from before, or not ours
        if here is None and waiting.is_file:
            safe_move.move(aside, step.path, step.sha256)
        return False
    if here is not None and here.is_same(waiting):
        descriptors.unlink(aside)
    elif here is None:
        safe_move.move(aside, step.path, step.sha256)
    elif over or holds(step.path, step.sha256):
        descriptors.replace(aside, step.path)
    else:
        raise FileExistsError(errno.EEXIST, f"another file has its name now; it waits as {aside}")
    return True


def let_go(step: Step) -> None:
    """Remove the waiting name: from here on only a copy of the bytes can come back. Raises OSError."""
    descriptors.unlink(place_of(step.path))


def waits(step: Step) -> bool:
    """Whether something has the waiting name."""
    return look(place_of(step.path)) is not None


def is_planned(step: Step, path: str) -> bool:
    """Whether the file that was checked is at a path: its size, its time and its bytes, read again.

    Its number is not asked for: some disks give a file another one with another name.
    """
    state = look(path)
    if state is None or not state.is_file or (state.size, state.mtime_ns) != (step.size, step.mtime_ns):
        return False
    return holds(path, step.sha256)


def _free(path: str) -> str:
    aside = place_of(path)
    if look(aside) is not None:
        raise FileExistsError(errno.EEXIST, f"{aside} is in the way; a run that was cut off may have left it")
    return aside


def _replaced() -> OSError:
    return OSError(errno.EBUSY, "another file took its name at this moment")
