"""Apply the groups of a plan in checked steps, and undo the steps of a journal in reverse order.

A file that differs from the plan is reported and not touched. `undo` restores each file, or reports why that is
impossible.
"""

from __future__ import annotations

import errno
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from clipcli.inputs.sources.filesystems import is_url
from clipcli.plan import descriptors
from clipcli.plan.actions import CannotUndoError, Trash, action_of, revert_failed
from clipcli.plan.file_state import attributes_of, digest_of, is_below, look, resolve, words_of
from clipcli.plan.journal_lines import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.plan.actions import Action
    from clipcli.plan.journal import Journal
    from clipcli.plan.plan_file import Plan, PlanRow

ApplyState = Literal["planned", "done", "already", "skipped", "failed"]
UndoState = Literal["planned", "restored", "untouched", "lost", "failed"]


@dataclass(frozen=True)
class Applied:
    """The result for one file that the plan removes."""

    row: PlanRow
    state: ApplyState
    reason: str = ""
    target: str = ""
    can_undo: bool | None = None
    """Whether `undo` can restore it; None if nothing was done."""


@dataclass(frozen=True)
class Applier:
    """Applies one action to the files that a plan removes; without a journal, only shows the steps."""

    action: Action
    journal: Journal | None = None
    earlier: Sequence[Step] = ()
    """Steps of earlier runs, if there is no journal to write to."""
    protected: Sequence[str] = ()
    """Resolved folders whose files are never removed."""

    def run(self, plan: Plan) -> Iterator[Applied]:
        """Do the steps one by one and yield each result immediately."""
        previous = {step.path: step for step in (self.journal.steps if self.journal else self.earlier)}
        for group in plan.groups:
            for row in group.removed:
                with descriptors.held():
                    result = self._apply(row, group.keeper_of(row), previous.get(row.path))
                yield result

    def _apply(self, row: PlanRow, keeper: PlanRow, previous: Step | None) -> Applied:
        if previous and previous.state == "begun" and self.journal:
            previous = self._recover(self.journal, previous)
        if previous and previous.state in {"begun", "done"} and action_of(previous).is_done(previous):
            return Applied(row, "already", f"{previous.action} was done before", previous.target)
        reason = self._objection(row, keeper)
        if reason:
            return Applied(row, "skipped", reason)
        try:
            target, made = self.action.target_of(row)
            can_undo = self.action.can_undo(same_bytes=row.sha256 == keeper.sha256)
            if self.journal is None:
                return Applied(row, "planned", "", target, can_undo)
            self._act(self.journal, row, keeper, target, made)
        except OSError as error:
            return Applied(row, "failed", words_of(error, row.path))
        return Applied(row, "done", "", target, can_undo)

    def _objection(self, row: PlanRow, keeper: PlanRow) -> str | None:
        if row.protected or is_below(row.path, self.protected):
            return "it is protected"
        if self.action.same_bytes_only and row.sha256 != keeper.sha256:
            return f"it has other bytes than {keeper.image}, so a link would lose them"
        return obstacle(row, keeper)

    def _act(self, journal: Journal, row: PlanRow, keeper: PlanRow, target: str, made: tuple[str, ...]) -> None:
        """Do a step. After an OSError the file is at its path."""
        with open(descriptors.open_to_read(row.path), "rb") as file:
            attributes = asdict(attributes_of(file.fileno()))
        step = journal.begin(
            Step(
                number=-1, action=self.action.name, image=row.image, path=row.path, keeper=keeper.path,
                sha256=row.sha256, size=row.size, inode=row.inode, root=row.root, target=target, made=made,
                began=time.time(), **attributes,
            )
        )  # fmt: skip
        try:
            _stop_on(visible_change_of(row))
            self.action.act(step)
            if change := visible_change_of(keeper):
                _stop_on(f"the file to keep, {keeper.image}, has changed: {change}")
            self.action.finish(step)
        except OSError:
            revert_failed(step)
            journal.mark(step, "failed")
            raise
        journal.mark(step, "done")

    @staticmethod
    def _recover(journal: Journal, step: Step) -> Step:
        """Recover an unfinished step of an earlier run: mark it done, or revert it."""
        action = action_of(step)
        state = "done"
        if not action.is_done(step):
            state = "undone"
            try:
                action.revert(step)
            except (CannotUndoError, OSError):
                state = "failed"
        journal.mark(step, state)
        return replace(step, state=state)


def _stop_on(change: str | None) -> None:
    """Raise OSError if a file changed since the check."""
    if change:
        raise OSError(errno.EBUSY, change)


def obstacle(row: PlanRow, keeper: PlanRow) -> str | None:
    """Return why a file must not be removed now, or None."""
    if change := change_of(row):
        return change
    if is_url(keeper.path):
        return f"the file to keep, {keeper.image}, is not on this machine and is not checked again"
    if change := change_of(keeper):
        return f"the file to keep, {keeper.image}, has changed: {change}"
    state, keeper_state = look(row.path), look(keeper.path)
    if state is None or keeper_state is None or state.is_same(keeper_state):
        return f"it is the same file as {keeper.image}, under another name"
    return None


def change_of(row: PlanRow) -> str | None:
    """Return how a file differs from its row in the plan, or None."""
    if change := visible_change_of(row):
        return change
    digest = digest_of(row.path)
    if digest is None:
        return "it cannot be read"
    return None if digest == row.sha256 else "its bytes have changed"


def visible_change_of(row: PlanRow) -> str | None:
    """Return the same as `change_of`, but without reading the file."""
    state = look(row.path)
    if resolve(row.path) != row.path:
        return "a folder above it is a link now"
    if state is None:
        return "it no longer exists"
    if not state.is_file:
        return "it is a link now" if state.is_link else "it is not a file any more"
    for changed, words in (
        (state.size != row.size, "its size has changed"),
        (not _same_double(state.mtime_ns, row.mtime_ns), "it has been written to"),
        (not _same_double(state.device, row.device), "another file has its name"),
        (not _same_double(state.inode, row.inode), "another file has its name"),
    ):
        if changed:
            return words
    return None


def _same_double(number: int, other: int) -> bool:
    """Return whether two numbers are equal as 64-bit floats: jq, JavaScript and pandas write plans with those.

    A time loses less than 256 ns by it. The bytes are compared by their digest in any case.
    """
    return float(number) == float(other)


@dataclass(frozen=True)
class Undone:
    """The result for one step."""

    step: Step
    state: UndoState
    detail: str = ""


def undo(journal: Journal) -> Iterator[Undone]:
    """Undo the steps that were begun or done, last first. It can be interrupted and repeated like `apply`."""
    trash = Trash()
    for step in reversed(journal.steps):
        if step.state in {"begun", "done"}:
            yield _undo_step(journal, step, trash if step.action == trash.name else action_of(step))


def preview_undo(journal: Journal) -> Iterator[Undone]:
    """Yield the steps that `undo` would undo, without touching files."""
    for step in reversed(journal.steps):
        if step.state in {"begun", "done"}:
            yield Undone(step, "planned", f"undo {step.action}")


def _undo_step(journal: Journal, step: Step, action: Action) -> Undone:
    try:
        with descriptors.held():
            detail = action.revert(step)
    except CannotUndoError as error:
        return Undone(step, "lost", str(error))
    except OSError as error:
        return Undone(step, "failed", words_of(error, step.path))
    journal.mark(step, "undone")
    return Undone(step, "restored" if detail else "untouched", detail)
