"""Undo a journal in reverse order: restore each file, or report why that is impossible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clipcli.plan import descriptors
from clipcli.plan.actions import CannotUndoError, Trash, action_of
from clipcli.plan.file_state import words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.plan.actions import Action
    from clipcli.plan.journal import Journal
    from clipcli.plan.steps import Step

State = Literal["planned", "restored", "untouched", "lost", "failed"]


@dataclass(frozen=True)
class Undone:
    """The result for one step."""

    step: Step
    state: State
    how: str = ""


def undo(journal: Journal) -> Iterator[Undone]:
    """Undo the steps that were begun or done, last first. It can be interrupted and repeated like `apply`."""
    trash = Trash()
    for step in reversed(journal.steps):
        if step.state in {"begun", "done"}:
            yield _undo(journal, step, trash if step.action == trash.name else action_of(step))


def preview(journal: Journal) -> Iterator[Undone]:
    """Yield the steps that `undo` would undo, without touching files."""
    for step in reversed(journal.steps):
        if step.state in {"begun", "done"}:
            yield Undone(step, "planned", f"undo {step.action}")


def _undo(journal: Journal, step: Step, action: Action) -> Undone:
    try:
        with descriptors.held():
            how = action.revert(step)
    except CannotUndoError as error:
        return Undone(step, "lost", str(error))
    except OSError as error:
        return Undone(step, "failed", words_of(error, step.path))
    journal.mark(step, "undone")
    return Undone(step, "restored" if how else "untouched", how)
