"""Run `dedupe`: read the inputs, form the groups, yield their rows, and report."""

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
from clipcli.runs.dedupe.candidates import index_by_sketches, index_by_vectors
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
    options: DuplicateOptions
    run: RunOptions
    level: Level
    remove: Level
    fail_on: Level | None
    rules: Sequence[Rule]
    decisions: Decisions
    report: RunSummary
    console: Console
    refs: list[ImageRef] | None = None
    """Images of a caller, in place of those of `inputs`."""

    fields: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """Image name → columns of its first row in an input table."""

    unit: ClassVar[str] = "image"

    @property
    def kept_columns(self) -> list[str]:
        """Return the columns of tables that rows keep."""
        return CarriedOptions(self.options.keep_columns).names

    @property
    def needs_model(self) -> bool:
        """Return whether vectors are compared, and not only bytes and pixels."""
        return self.level == "similar" or is_vector_file(self.options.against)

    def open(self, choice: Choice) -> AbstractContextManager[Session]:
        """Open a session; no model is loaded if only bytes and pixels are compared."""
        return open_session(choice, self.console, self.run.session(self.inputs), needs_model=self.needs_model)

    @cached_property
    def _folders(self) -> list[str]:
        return [os.path.realpath(a) for a in self.inputs.images or () if os.path.isdir(a)]  # noqa: PTH112 - any bytes

    @cached_property
    def _refs(self) -> Iterable[ImageRef]:
        if self.refs is not None:
            return self.refs
        against = self.options.against
        refs = self.inputs.collect(self.console, follows_links=against is not None, keep=self.kept_columns)
        refs = outside(refs, inner_reference(self._folders, against))
        return refs if is_stream(self.inputs.images or [], self.inputs.files_from or []) else list(refs)

    @property
    def total(self) -> int | None:
        """Return the number of images without the references; None for a stream of names."""
        return len(self._refs) if isinstance(self._refs, list) else None

    def rows(self, session: Session, advance: Advance) -> Iterator[DuplicateRow | ErrorRow]:
        """Yield failures as they come, then the groups."""
        against, self.compared = self.options.against, None
        protected = [os.path.realpath(f) for f in self.options.protect or ()]
        collection = Collection(self._folders, protected, against is not None)
        yield from self._read(session, self._refs, collection, advance, reference=False)
        if against is not None:
            yield from self._read_references(session, collection)
            self.compared = collection
        grouper, groups = self._form_groups(session, collection)
        yield from self._unreadable(grouper)
        if grouper.not_compared or grouper.shortened:
            self.console.warning(
                f"too many files look alike: {grouper.not_compared:,} candidates were not compared, "
                f"and {grouper.shortened:,} files only with their 64 nearest; groups may be smaller than they should be"
            )
        maker = RowMaker(grouper, self.remove, self.page)
        for number, group in enumerate(groups, 1):
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
        """Report the counts, and return the exit code."""
        self.report.summarise()
        against = redact(str(self.options.against))
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
    """Path of the HTML page of the plan; empty for none."""
    groups_found: int = 0
    on_both_sides: int = 0
    freed: Freed = field(default_factory=Freed)
    compared: Collection | None = None
    """Both sides of `--against`; None without it."""

    def _count(self, row: DuplicateRow) -> None:
        self.groups_found = max(self.groups_found, row.group)
        self.freed.add(row)
        self.on_both_sides += row.same_file
        if not row.leads and self.fail_on and includes(self.fail_on, row.closest_level):
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
            if read.error is not None and self.options.empty and collection.add_empty(read.ref, reference=reference):
                self.report.ok()
            elif read.error is not None:
                self.report.fail(read.ref.name, read.error)
                yield ErrorRow.of(read.ref.name, read.error)
            else:
                self.report.ok()
                collection.add(read, reference=reference)

    def _read_references(self, session: Session, collection: Collection) -> Iterator[ErrorRow]:
        against = str(self.options.against)
        if is_vector_file(against):
            candidate = self._thresholds(session).candidate
            collection.references = add_vectors(against, session, collection, candidate, self.console)
        else:
            refs = list(collect([against], globs=self.inputs.globs, follows_links=True, detail=self.console.debug_once))
            with self.console.progress(len(refs), doing="references") as advance:
                yield from self._read(session, refs, collection, advance, reference=True)

    def _form_groups(self, session: Session, collection: Collection) -> tuple[Grouper, list[Group]]:
        contents, vectors, against = collection.contents(), collection.vectors(), self.options.against is not None
        signatures = SignatureReader(
            contents, session.cache, self.options.rotations, not self.inputs.no_orient, self.inputs.rendering(),
            self.inputs.max_pixels, self.run.workers,
        )  # fmt: skip
        grouper = Grouper(
            contents=contents, vectors=vectors, signatures=signatures, by_vectors=None, by_sketches=None,
            has_references=against, thresholds=self._thresholds(session), level=self.level, rules=self.rules,
            decisions=self.decisions,
            console=self.console,
        )  # fmt: skip
        with closing(signatures):
            with self.console.progress(len(contents), doing="looking") as advance:
                signatures.read(advance)
            if against:
                groups = match(grouper, self.console)
            else:
                self._build_indexes(grouper)
                groups = grouper.groups()
        return grouper, grouper.with_empty(groups, collection.empty, against=against)

    def _unreadable(self, grouper: Grouper) -> Iterator[ErrorRow]:
        """Yield errors of files that have a digest but cannot be decoded."""
        for number, error in sorted(grouper.signatures.errors.items()):
            for file in grouper.contents[number].files:
                if file.reference and not file.state.is_file:
                    continue  # a row of a vector file, whose picture may be gone
                self.report.done -= 1
                self.report.fail(file.name, error)
                yield ErrorRow.of(file.name, error)

    def _build_indexes(self, grouper: Grouper) -> None:
        signatures = grouper.signatures
        if signatures.facts:
            count = len(grouper.contents)
            grouper.by_sketches = index_by_sketches(
                signatures.facts, count, signatures.cache, self.console, turns=signatures.turns
            )
        if grouper.vectors is not None and self.level == "similar" and len(grouper.contents):
            grouper.by_vectors = index_by_vectors(grouper.vectors, grouper.thresholds.similar, self.console)

    def _thresholds(self, session: Session) -> LevelThresholds:
        thresholds = thresholds_of(session.info.name) if self.needs_model else UNKNOWN_MODEL
        similar = self.options.similar
        if similar is None:
            return thresholds
        return replace(thresholds, similar=similar, candidate=min(thresholds.candidate, similar))


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"
