"""Run `apply` and `undo`: read the plan, write one row per file with its outcome, and end with a summary."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from clipcli.core.console import Console
from clipcli.core.files import is_folder, is_there
from clipcli.errors import ExitCode, PlanError, UsageError
from clipcli.output import open_writer
from clipcli.plan.actions import Delete, Move, parse_action
from clipcli.plan.apply import Applied, Applier, preview_undo, undo
from clipcli.plan.decisions import decided, joined, read_decisions, write_decisions
from clipcli.plan.file_state import is_below, look, resolve
from clipcli.plan.journal import journal_of, open_journal, read_journal
from clipcli.plan.plan_file import read_plan, reviewed_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.options.apply import ApplyOptions
    from clipcli.output import Output
    from clipcli.plan.actions import Action
    from clipcli.plan.plan_file import Plan, PlanRow

CANNOT_UNDO: Final = "it cannot be brought back"


def is_copy(row: PlanRow, keeper: PlanRow) -> bool:
    """Return whether the keeper has the same bytes or, by the plan, the same pixels."""
    if row.sha256 == keeper.sha256:
        return True
    return any(
        copy.keeper == original.path and copy.level == "exact" for copy, original in ((row, keeper), (keeper, row))
    )


def no_copies(plan: Plan, protected: Sequence[str]) -> Iterator[PlanRow]:
    """Yield the existing files that a plan removes and of which no exact copy is kept."""
    for group in plan.groups:
        for row in group.removed:
            if not is_copy(row, group.keeper_of(row)) and look(row.path) and not is_below(row.path, protected):
                yield row


_TROUBLE = {"skipped", "failed", "lost"}


@dataclass(frozen=True)
class ActionRow:
    """The result for one file."""

    image: str
    action: str
    state: str
    reason: str
    can_undo: bool | None = None
    """True if it can be restored; None if nothing is done."""
    columns: ClassVar[tuple[str, ...]] = ("image", "action", "state", "reason")

    @property
    def path(self) -> str | None:
        """Return the file for a list of bare paths, if the action applies or would apply to it."""
        return self.image if self.state in {"planned", "done", "restored"} else None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        row: dict[str, object] = {
            "image": self.image, "action": self.action, "state": self.state, "reason": self.reason,
        }  # fmt: skip
        return row if self.can_undo is None else {**row, "can_undo": self.can_undo}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line."""
        return [(self.image, self.action, self.state, self.reason)]


@dataclass(frozen=True)
class ApplyRun:
    """A checked `apply`."""

    plan: Plan
    action: Action
    journal: Path
    protected: Sequence[str]
    console: Console
    irreversible: bool = False
    """True if files without an exact copy may be deleted too."""

    @classmethod
    def of(cls, plan: str, options: ApplyOptions, *, touches_nothing: bool = False) -> ApplyRun:
        """Check plan and options before any file is touched.

        Args:
            plan: the plan's file.
            options: the options of the command.
            touches_nothing: the plan is only read, so it need not be reviewed.

        Raises:
            PlanError: the plan cannot be read or is inconsistent.
            UsageError: options do not go together, or the plan must be reviewed first.
        """
        if options.yes and options.dry_run:
            raise UsageError("--yes and --dry-run do not go together", hint="choose one")
        for folder in options.protect or ():
            if not is_folder(folder):
                raise UsageError(f"--protect {folder}: no such folder", hint="a misspelt folder would protect nothing")
        folders = [str(Path(folder).resolve()) for folder in options.protect or ()]
        chosen, read = parse_action(options.action), read_plan(plan)
        if isinstance(chosen, Move) and os.path.lexists(chosen.folder) and not is_folder(Path(chosen.folder)):
            raise UsageError(
                f"--action {options.action}: {chosen.folder} is not a folder", hint="name a folder; it may be new"
            )
        if read.page and not options.unreviewed and not touches_nothing:
            raise UsageError(
                f"{plan} has not been reviewed: {read.page} was written for that",
                hint=f"open it, save the choices, then: clipcli apply {reviewed_name(plan)}; or add --unreviewed",
            )
        journal = Path(options.journal) if options.journal else journal_of(read.path)
        return cls(read, chosen, journal, folders, Console(quiet=options.quiet), options.irreversible)

    def decide(self, ignore_file: str | None, *, keep_all: bool) -> None:
        """Record which pictures are different. Raises UsageError, OutputError."""
        if ignore_file is None:
            raise UsageError(
                "--keep-both needs --ignore-file FILE", hint="decisions are recorded there for later runs of dedupe"
            )
        earlier, decisions = read_decisions(ignore_file), decided(self.plan, keep_all=keep_all)
        write_decisions(ignore_file, joined([earlier, decisions]))
        new = len(set(decisions.pairs) - set(earlier.pairs))
        self.console.info(f"{new:,} pairs recorded in {ignore_file}; use it with clipcli dedupe --ignore-file")

    def apply(self, output: Output, *, yes: bool) -> int:
        """Apply the plan, or show what would be done; return the exit code."""
        self._protect_inputs(output)
        self._refuse_losses(yes=yes)
        if yes:
            planned = {(row.path, row.sha256) for group in self.plan.groups for row in group.removed}
            with open_journal(self.journal, planned=planned) as journal:
                if journal.steps and not journal.is_own:
                    raise PlanError(
                        f"{self.journal} was not written by this user's clipcli on this machine",
                        hint="undo it with clipcli undo first, or name another --journal",
                    )
                if journal.retired is not None:
                    self.console.info(f"{self.journal.name} belonged to an earlier plan; renamed to {journal.retired}")
                counts = self._write(output, Applier(self.action, journal, protected=self.protected).run(self.plan))
        else:
            earlier = read_journal(self.journal) if is_there(self.journal) else []
            applier = Applier(self.action, earlier=earlier, protected=self.protected)
            counts = self._write(output, applier.run(self.plan))
        self._summarise(counts, yes=yes)
        return ExitCode.SOME_FAILED if counts["skipped"] or counts["failed"] else ExitCode.OK

    def _protect_inputs(self, output: Output) -> None:
        """Refuse an output that would replace the plan or the journal. Raises UsageError."""
        for name, file in (("plan", self.plan.path), ("journal", self.journal)):
            if output.path not in {None, "-"} and Path(str(output.path)).resolve() == file.resolve():
                raise UsageError(f"-o {output.path} would replace the {name}", hint="write the rows to another file")

    def _refuse_losses(self, *, yes: bool) -> None:
        """Refuse to delete files without an exact copy unless --irreversible is set. Raises UsageError."""
        if self.irreversible and self.action.name != Delete.name:
            raise UsageError("--irreversible is for --action delete", hint=f"leave it out for {self.action.name}")
        if not yes or self.irreversible or self.action.name != Delete.name:
            return
        lost = sum(1 for _ in no_copies(self.plan, self.protected))
        if lost:
            description = "is no exact copy" if lost == 1 else "are no exact copies"
            raise UsageError(
                f"{_files(lost)} to be deleted {description} of what is kept, and nothing could bring "
                f"{'it' if lost == 1 else 'them'} back; nothing was touched",
                hint="use --action trash, or add --irreversible to delete them anyway",
            )

    def _write(self, output: Output, results: Iterable[Applied]) -> Counter[str]:
        counts: Counter[str] = Counter()
        total = sum(len(group.removed) for group in self.plan.groups)
        with open_writer(output) as writer, self.console.progress(total, "file", doing=self.action.name) as advance:
            for result in results:
                advance(1)
                counts[result.state] += 1
                counts["back"] += result.can_undo is True
                counts["gone"] += result.can_undo is False
                if result.state in _TROUBLE:
                    self.console.line(f"{result.row.image}: {result.state}: {result.reason}")
                detail = f"to {result.target}" if result.target and not result.reason else result.reason
                detail = CANNOT_UNDO if result.can_undo is False else detail
                writer.write(ActionRow(result.row.image, self.action.name, result.state, detail, result.can_undo))
        return counts

    def _summarise(self, counts: Counter[str], *, yes: bool) -> None:
        restorable, lost = counts.pop("back", 0), counts.pop("gone", 0)
        kinds = [f"{count:,} {state}" for state, count in sorted(counts.items())]
        self.console.info(f"{self.action.name}: {', '.join(kinds) or 'nothing to do'}")
        if restorable or lost:
            self.console.info(
                f"{restorable:,} can be brought back, {lost:,} cannot" + self._explain_lost(lost, yes=yes)
            )
        if counts["planned"]:
            needs = self.action.name == Delete.name and next(no_copies(self.plan, self.protected), None) is not None
            self.console.info(f"nothing was touched; add --yes{' --irreversible' if needs else ''} to do it")
        elif yes and restorable:
            subject = "" if not lost else f" {_files(restorable)}"
            self.console.info(f"to take back{subject or ' all of it'}: clipcli undo {shlex.quote(str(self.journal))}")

    def _explain_lost(self, count: int, *, yes: bool) -> str:
        """Return where the files are that `undo` cannot restore."""
        if not count:
            return ""
        if self.action.name == "trash":
            return " by clipcli, only by hand from the trash"
        return ": no copy of their bytes is left" if yes else ": no copy of their bytes would be left"


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def undo_all(journal: str, output: Output, *, quiet: bool, yes: bool = False) -> int:
    """Undo every step of a journal and return the exit code.

    A journal that this user's clipcli did not write on this machine is only displayed, unless `yes` confirms its paths.

    Raises:
        PlanError: it is not a journal, or was only displayed.
        UsageError: the rows would replace the journal.
    """
    console, counts = Console(quiet=quiet), Counter[str]()
    path = Path(resolve(journal))
    step_count = sum(step.state in {"begun", "done"} for step in read_journal(path))
    if output.path not in {None, "-"} and Path(str(output.path)).resolve() == path.resolve():
        raise UsageError(f"-o {output.path} would replace the journal", hint="write the rows to another file")
    with (
        open_journal(path) as opened,
        open_writer(output) as writer,
        console.progress(step_count, "file", doing="undo") as step,
    ):
        for result in undo(opened) if opened.is_own or yes else preview_undo(opened):
            step(1)
            counts[result.state] += 1
            if result.state in _TROUBLE:
                console.line(f"{result.step.image}: {result.detail}")
            writer.write(ActionRow(result.step.image, result.step.action, result.state, result.detail))
    console.info(", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "nothing to undo")
    if counts["planned"]:
        raise PlanError(
            f"{path} was not written by this user's clipcli on this machine, so nothing was touched",
            hint="check the paths above; if all of them are right: clipcli undo --yes",
        )
    return ExitCode.SOME_FAILED if counts["lost"] or counts["failed"] else ExitCode.OK
