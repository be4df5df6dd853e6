"""Quarantine: a file to remove gets a temporary name and is checked again before its last name is removed.

Between the check of a file and the system call that removes it, another program may replace the file or remove the
keeper. So the file is renamed to a name that nobody else uses, the renamed file is compared with the plan, the keeper
is checked again, and only then the last name is removed. If each of two runs removes the other's keeper, at least one
of them notices that its keeper is missing and restores its own file.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from clipcli.plan import descriptors, safe_move
from clipcli.plan.file_state import holds, look

if TYPE_CHECKING:
    from clipcli.plan.steps import Step


def quarantine_path(path: str) -> str:
    """Return the quarantine name of a file, in the same folder."""
    return safe_move.hidden_name(path, "aside")


def quarantine(step: Step) -> None:
    """Rename the file to its quarantine name. After an OSError the file is at its path."""
    aside = _free(step.path)
    descriptors.rename(step.path, aside)
    if not is_planned(step, aside):
        try:
            safe_move.move(aside, step.path, step.sha256)
        except OSError as error:
            message = f"two other files took its name at this moment; one is kept as {aside}"
            raise OSError(errno.EBUSY, message) from error
        raise _replaced()


def name_aside(step: Step) -> None:
    """Give the file its quarantine name as a second name, so that the path always exists. Raises OSError."""
    aside = _free(step.path)
    try:
        descriptors.link(step.path, aside)
    except OSError:  # a file system without hard links
        quarantine(step)
        return
    if not is_planned(step, aside):
        descriptors.unlink(aside)
        raise _replaced()


def restore(step: Step, *, over: bool) -> bool:
    """Restore a quarantined file to its path and return whether there was one; `over` replaces an existing file.

    Raises:
        OSError: another file is at the path; the file stays in quarantine.
    """
    aside, current = quarantine_path(step.path), look(step.path)
    waiting = look(aside)
    if waiting is None:
        return False
    if not holds(aside, step.sha256):  # changed through an open descriptor, or another file
        if current is None and waiting.is_file:
            safe_move.move(aside, step.path, step.sha256)
        return False
    if current is not None and current.is_same(waiting):
        descriptors.unlink(aside)
    elif current is None:
        safe_move.move(aside, step.path, step.sha256)
    elif over or holds(step.path, step.sha256):
        descriptors.replace(aside, step.path)
    else:
        raise FileExistsError(errno.EEXIST, f"another file has its name now; it is kept as {aside}")
    return True


def discard(step: Step) -> None:
    """Delete the quarantined file; after this only a copy can be restored. Raises OSError."""
    descriptors.unlink(quarantine_path(step.path))


def waits(step: Step) -> bool:
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


def _free(path: str) -> str:
    aside = quarantine_path(path)
    if look(aside) is not None:
        raise FileExistsError(errno.EEXIST, f"{aside} already exists; an interrupted run may have left it")
    return aside


def _replaced() -> OSError:
    return OSError(errno.EBUSY, "another file took its name at this moment")
