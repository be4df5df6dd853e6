"""Apply the groups of a plan in checked steps. A file that differs from the plan is reported and not touched."""

from __future__ import annotations

import errno
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from clipcli.plan import descriptors
from clipcli.plan.actions import CannotUndoError, action_of, revert_failed
from clipcli.plan.attributes import attributes_of
from clipcli.plan.file_state import digest_of, is_below, look, resolve, words_of
from clipcli.plan.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.plan.actions import Action
    from clipcli.plan.journal import Journal
    from clipcli.plan.read import Plan
    from clipcli.plan.rows import PlanRow

State = Literal["planned", "done", "already", "skipped", "failed"]


@dataclass(frozen=True)
class Applied:
    """The result for one file that the plan removes."""

    row: PlanRow
    state: State
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
        before = {step.path: step for step in (self.journal.steps if self.journal else self.earlier)}
        for group in plan.groups:
            for row in group.removed:
                with descriptors.held():
                    result = self._apply(row, group.keeper_of(row), before.get(row.path))
                yield result

    def _apply(self, row: PlanRow, keeper: PlanRow, before: Step | None) -> Applied:
        if before and before.state == "begun" and self.journal:
            before = self._recover(self.journal, before)
        if before and before.state in {"begun", "done"} and action_of(before).is_done(before):
            return Applied(row, "already", f"{before.action} was done before", before.target)
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
            attributes = {**asdict(attributes_of(file.fileno())), "mtime_ns": row.mtime_ns}
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
        (state.mtime_ns != row.mtime_ns, "it has been written to"),
        ((state.device, state.inode) != (row.device, row.inode), "another file has its name"),
    ):
        if changed:
            return words
    return None
