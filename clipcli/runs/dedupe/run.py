"""Run `dedupe` from start to exit code."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from clipcli.core.files import decimal_size
from clipcli.core.redaction import redact
from clipcli.errors import ExitCode
from clipcli.inputs.collect import collect, is_stream
from clipcli.options.shared import CarriedOptions
from clipcli.output import ErrorRow
from clipcli.runs.dedupe.against import add_vectors, inner_reference, is_vector_file, match, outside
from clipcli.runs.dedupe.candidates import propose_by_sketches, propose_by_vectors
from clipcli.runs.dedupe.groups import Group, Grouper
from clipcli.runs.dedupe.image_files import Collection, Read, read_only
from clipcli.runs.dedupe.rows import DuplicateRow, Freed, RowMaker
from clipcli.runs.dedupe.signatures import SignatureReader
from clipcli.session.session import open_session
from clipcli.tasks.dedupe.levels import UNKNOWN_MODEL, Level, includes, thresholds_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from clipcli.core.console import Console, RunSummary
    from clipcli.inputs.collect import ImageRef
    from clipcli.models.spec import Choice
    from clipcli.options.dedupe import DuplicateOptions
    from clipcli.options.shared import InputOptions, RunOptions
    from clipcli.plan.decisions import Decisions
    from clipcli.runs.base import Advance
    from clipcli.session.session import Session
    from clipcli.tasks.dedupe.keep import Rule
    from clipcli.tasks.dedupe.levels import LevelThresholds


@dataclass
class DedupeRun:
    """One checked run."""

    inputs: InputOptions
    asked: DuplicateOptions
    run: RunOptions
    level: Level
    remove: Level
    fail_on: Level | None
    rules: Sequence[Rule]
    decisions: Decisions
    report: RunSummary
    console: Console
    refs: list[ImageRef] | None = None
    """What to look at where that is no matter of `inputs`."""

    fields: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """Columns of the table that an image stands in, by its name; of its first row."""

    unit: ClassVar[str] = "image"

    @property
    def kept_columns(self) -> list[str]:
        """Return the columns of tables that rows keep."""
        return CarriedOptions(self.asked.keep_columns).names

    @property
    def needs_model(self) -> bool:
        """Return whether vectors are compared, and not only bytes and pixels."""
        return self.level == "similar" or is_vector_file(self.asked.against)

    def open(self, choice: Choice) -> AbstractContextManager[Session]:
        """Open a session; where no model is needed, nothing of it is looked at."""
        return open_session(choice, self.console, self.run.session(self.inputs), needs_model=self.needs_model)

    @cached_property
    def _folders(self) -> list[str]:
        return [os.path.realpath(a) for a in self.inputs.images or () if os.path.isdir(a)]  # noqa: PTH112 - any bytes

    @cached_property
    def _refs(self) -> Iterable[ImageRef]:
        if self.refs is not None:
            return self.refs
        against = self.asked.against
        refs = self.inputs.collect(self.console, follows_links=against is not None, keep=self.kept_columns)
        refs = outside(refs, inner_reference(self._folders, against))
        return refs if is_stream(self.inputs.images or [], self.inputs.files_from or []) else list(refs)

    @property
    def total(self) -> int | None:
        """Return how many images there are without the references; None for a list that is still coming."""
        return len(self._refs) if isinstance(self._refs, list) else None

    def rows(self, session: Session, advance: Advance) -> Iterator[DuplicateRow | ErrorRow]:
        """Yield failures as they come, then the groups."""
        against, self.compared = self.asked.against, None
        protected = [os.path.realpath(f) for f in self.asked.protect or ()]
        collection = Collection(self._folders, protected, against is not None)
        yield from self._read(session, self._refs, collection, advance, reference=False)
        if against is not None:
            yield from self._read_references(session, collection)
            self.compared = collection
        decider, found = self._decide(session, collection)
        yield from self._unreadable(decider)
        if decider.unseen or decider.shortened:
            self.console.warning(
                f"too many files look alike: {decider.unseen:,} candidates were not compared, "
                f"and {decider.shortened:,} files only with their 64 nearest; groups may be smaller than they should be"
            )
        maker = RowMaker(decider, self.remove, self.page)
        for number, group in enumerate(found, 1):
            for row in maker.rows(number, group):
                self._count(row)
                yield row
        left_out = collection.links + (
            0 if against is not None else collection.further_names - self.freed.further_names
        )
        if left_out:
            which = f"{left_out:,} links and further names of the same files left out: they hold no copy"
            if left_out == 1:
                which = "1 link or further name of the same file left out: it holds no copy"
            self.console.info(which)

    def finish(self, session: Session) -> ExitCode:  # noqa: ARG002 - as every run
        """Say what was found, and return the exit code."""
        self.report.summarise()
        against = redact(str(self.asked.against))
        if self.compared is not None and not (self.compared.queries and self.compared.references):
            side = "the inputs" if not self.compared.queries else against
            self.console.warning(f"nothing was compared: no image of {side} could be used")
            return ExitCode.INPUTS
        if self.compared is not None:
            self.console.info(
                f"{_images(self.compared.queries)} compared with {self.compared.references:,} of {against}"
            )
        if self.on_both_sides:
            self.console.warning(
                f"{_images(self.on_both_sides)} on both sides: the same file is in the inputs and in {against}"
            )
        if self.groups_found:
            self._say_what_could_go()
        else:
            self.console.info("no duplicates found")
        return self.report.exit_code

    def _say_what_could_go(self) -> None:
        groups, files = self.groups_found, self.freed.files
        self.console.info(
            f"{groups:,} group{'' if groups == 1 else 's'}; {files:,} file{'' if files == 1 else 's'} could go, "
            f"{decimal_size(self.freed.bytes)}"
        )
        if self.freed.held:
            self.console.info(f"{self.freed.held:,} of them stay under another name (a hard link), and free nothing")

    page: str = ""
    """The page that is made of the plan."""
    groups_found: int = 0
    on_both_sides: int = 0
    freed: Freed = field(default_factory=Freed)
    compared: Collection | None = None
    """Both sides, where there are two."""

    def _count(self, row: DuplicateRow) -> None:
        self.groups_found = max(self.groups_found, row.group)
        self.freed.add(row)
        self.on_both_sides += row.same_file
        if not row.leads and self.fail_on and includes(self.fail_on, row.surest):
            self.report.checks_failed += 1

    def _read(
        self, session: Session, refs: Iterable[ImageRef], collection: Collection, advance: Advance, *, reference: bool
    ) -> Iterator[ErrorRow]:
        reads: Iterator[Read]
        if self.needs_model:
            reads = (Read(done.ref, done.digest, done.vector, done.error) for done in session.embed_images(refs))
        else:
            reads = read_only(refs, session.cache)
        for read in reads:
            advance(1)
            if read.ref.fields and not reference:
                self.fields.setdefault(read.ref.name, read.ref.fields)
            if read.error is not None and self.asked.empty and collection.add_empty(read.ref, reference=reference):
                self.report.ok()
            elif read.error is not None:
                self.report.fail(read.ref.name, read.error)
                yield ErrorRow.of(read.ref.name, read.error)
            else:
                self.report.ok()
                collection.add(read, reference=reference)

    def _read_references(self, session: Session, collection: Collection) -> Iterator[ErrorRow]:
        against = str(self.asked.against)
        if is_vector_file(against):
            candidate = self._thresholds(session).candidate
            collection.references = add_vectors(against, session, collection, candidate, self.console)
        else:
            refs = list(collect([against], globs=self.inputs.globs, follows_links=True, detail=self.console.debug_once))
            with self.console.progress(len(refs), doing="references") as advance:
                yield from self._read(session, refs, collection, advance, reference=True)

    def _decide(self, session: Session, collection: Collection) -> tuple[Grouper, list[Group]]:
        contents, vectors, against = collection.contents(), collection.vectors(), self.asked.against is not None
        looker = SignatureReader(
            contents, session.cache, self.asked.rotations, not self.inputs.no_orient, self.inputs.rendering(),
            self.inputs.max_pixels, self.run.workers,
        )  # fmt: skip
        decider = Grouper(
            contents=contents, vectors=vectors, looker=looker, by_vectors=None, by_sketches=None,
            has_references=against, thresholds=self._thresholds(session), level=self.level, rules=self.rules,
            decisions=self.decisions,
            console=self.console,
        )  # fmt: skip
        with closing(looker):
            with self.console.progress(len(contents), doing="looking") as advance:
                looker.read(advance)
            if against:
                found = match(decider, self.console)
            else:
                self._propose(decider)
                found = decider.groups()
        return decider, decider.with_empty(found, collection.empty, against=against)

    def _unreadable(self, decider: Grouper) -> Iterator[ErrorRow]:
        """Files that had a digest and turned out to be no image."""
        for number, error in sorted(decider.looker.errors.items()):
            for file in decider.contents[number].files:
                if file.reference and not file.state.is_file:
                    continue  # a row of vectors, whose picture need not be there
                self.report.done -= 1
                self.report.fail(file.name, error)
                yield ErrorRow.of(file.name, error)

    def _propose(self, decider: Grouper) -> None:
        looker = decider.looker
        if looker.facts:
            count = len(decider.contents)
            decider.by_sketches = propose_by_sketches(
                looker.facts, count, looker.cache, self.console, turns=looker.turns
            )
        if decider.vectors is not None and self.level == "similar" and len(decider.contents):
            decider.by_vectors = propose_by_vectors(decider.vectors, decider.thresholds.similar, self.console)

    def _thresholds(self, session: Session) -> LevelThresholds:
        found = thresholds_of(session.info.name) if self.needs_model else UNKNOWN_MODEL
        if self.asked.similar is None:
            return found
        return replace(found, similar=self.asked.similar, candidate=min(found.candidate, self.asked.similar))


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"
