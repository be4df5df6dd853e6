"""One run of `embed`."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Generic

from clipcli.core.console import printable
from clipcli.core.run_summary import RunSummary
from clipcli.errors import InputsError, OutputError, UsageError
from clipcli.inputs.shards import Listing
from clipcli.runs.embed.embed_inputs import ImageSource, Input, parse_source
from clipcli.runs.embed.estimate import keep_speed, print_estimate
from clipcli.runs.embed.summary import RunFigures, advice, summary
from clipcli.runs.embed.target import parse_target
from clipcli.session.session import Session, open_session
from clipcli.vectorfiles import Shard, VectorsInfo, WritePlan, create_vectors
from clipcli.vectorfiles.checkpoints import Collector, has_parts, open_parts, write_chunk
from clipcli.vectorfiles.destination import close_workshop, deliver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clipcli.core.console import Console
    from clipcli.errors import ExitCode
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.texts import TextRef
    from clipcli.models.choice import Choice
    from clipcli.options.embed import TextOptions, VectorOptions
    from clipcli.options.shared import InputOptions
    from clipcli.runs.embed.embed_inputs import EmbedInputs, EmbedOutcome
    from clipcli.runs.embed.embedder import Embedder
    from clipcli.runs.embed.target import EmbedTarget
    from clipcli.session.ray.resources import ClusterSpec
    from clipcli.session.session_options import SessionOptions
    from clipcli.vectorfiles.checkpoints import Chunk, Done, PartsFolder


def description(session: Embedder, source: EmbedInputs[Input], target: EmbedTarget, *, raw: bool) -> VectorsInfo:
    """By which model, of what, read how; of a shard, how many inputs there were is known at the end only."""
    index, count = target.shard
    return VectorsInfo(
        kind=source.kind,
        model=session.info.name,
        fingerprint=session.info.fingerprint,
        precision=session.model.precision,
        unit_length=not raw,
        prompts=source.prompts_name,
        decoding=", ".join(session.decoding) if source.kind == "image" else "",
        pixels=session.rendering if source.kind == "image" else "",
        shard=Shard(index, count, 0, "") if count > 1 else None,
        parameters=session.info,
        scoring=session.scoring,
    )


PART_INPUTS = 1024
"""Inputs a part: what a kill costs at most where the cache is not used."""
_ENOUGH_TO_TELL = 50
"""Inputs after which a run's speed is worth keeping for the next --dry-run."""


def plan(
    inputs: InputOptions, texts: TextOptions, out: VectorOptions, talk: Console
) -> EmbedRun[ImageRef] | EmbedRun[TextRef]:
    """Check everything that was asked before a model is touched.

    Raises:
        UsageError: options that do not go together.
        InputsError: nothing to embed, or prompts that cannot be used.
    """
    target = parse_target(out.output, out.format, out.dtype, out.shard, resume=out.resume)
    source = parse_source(inputs, texts, talk)
    if isinstance(source, ImageSource):
        return EmbedRun(source, target, RunSummary(talk), raw=out.raw)
    return EmbedRun(source, target, RunSummary(talk), raw=out.raw)


@dataclass
class EmbedRun(Generic[Input]):
    """One run, ready to go."""

    source: EmbedInputs[Input]
    target: EmbedTarget
    report: RunSummary
    raw: bool = False
    _started: float = field(default_factory=time.perf_counter, repr=False)
    _writing: float = field(default=0.0, repr=False)
    _resumed: int = field(default=0, repr=False)

    @property
    def total(self) -> int | None:
        """How many inputs this run will deal with, about; None when nobody knows."""
        return None if self.source.count is None else -(-self.source.count // self.target.shard[1])

    def open_session(self, choice: Choice, options: SessionOptions) -> AbstractContextManager[Session]:
        """A session for these inputs."""
        images, texts = self.source.expected_images, self.source.expected_texts
        return open_session(choice, self.report.talk, options, expected_images=images, expected_texts=texts)

    @contextmanager
    def place(self) -> Iterator[PartsFolder | None]:
        """Where the results go, held for the whole run; None is stdout.

        Raises:
            OutputError: it cannot be written, or another process writes it.
        """
        target = self.target
        if target.path is None:
            yield None
            return
        if not target.resume and has_parts(target.path):
            self.report.talk.note("beginning anew, without the parts of a stopped run (--resume goes on with them)")
        with open_parts(target.path, target.dtype, resume=target.resume, shown=target.shown) as parts:
            yield parts
        if target.url is not None:
            close_workshop(target.path)

    def run(self, session: Embedder, parts: PartsFolder | None, advance: Callable[[int], object]) -> None:
        """Embed everything and write it; failures are named on the way.

        Raises:
            OutputError: the output cannot be written; what is done stays in the folder of parts.
            ModelError: the model cannot be used.
        """
        listing = Listing(self.source.inputs, self.source.name_of, *self.target.shard)
        if parts is None:
            self._stream(session, listing, advance)
        else:
            self._to_file(session, listing, parts, advance)

    def print_estimate(self, session: Session) -> None:
        """Say how much there is to do; nothing is embedded."""
        print_estimate(session, self.source, self.target.shard)

    def conclude(self, session: Embedder) -> ExitCode:
        """Say how it went; the exit code."""
        unit = self.source.kind
        self.report.summarise(unit)
        wall = time.perf_counter() - self._started
        timings = session.timings
        if isinstance(session, Session) and timings.encoded >= _ENOUGH_TO_TELL and not timings.cached:
            keep_speed(session, unit, timings.encoded / wall)
        run = RunFigures(unit, self.report.done, wall, self._writing, session.workers, session.models, self._resumed)
        self.report.talk.note(summary(timings, run))
        if isinstance(session, Session) and (hint := advice(session.model, timings, run)):
            self.report.talk.note(hint)
        return self.report.exit_code

    def _stream(self, session: Embedder, listing: Listing[Input], advance: Callable[[int], object]) -> None:
        info, target = description(session, self.source, self.target, raw=self.raw), self.target
        plan_ = WritePlan(None, info, 0, session.info.dim, target.dtype, target.pipe)
        collector = Collector(session.info.dim)
        with create_vectors(self.target.format, plan_) as writer:
            for outcome in self._outcomes(session, listing):
                collector.add(outcome.name, outcome.vector, outcome.position, outcome.failure)
                with self._timed():
                    write_chunk(writer, collector.take())
                advance(1)
        _require_some(listing)

    def _to_file(
        self, session: Embedder, listing: Listing[Input], parts: PartsFolder, advance: Callable[[int], object]
    ) -> None:
        info = description(session, self.source, self.target, raw=self.raw)
        parts.begin(info, session.info.dim)
        collector = Collector(session.info.dim)
        try:
            for outcome in self._outcomes(session, self._remaining(listing, parts.inputs(), advance)):
                collector.add(outcome.name, outcome.vector, outcome.position, outcome.failure)
                advance(1)
                if len(collector) >= PART_INPUTS:
                    with self._timed():
                        parts.add(collector.take())
            _require_some(listing)
            with self._timed():
                self._assemble(self._finished(info, listing), session.info.dim, parts, collector.chunk())
        except BaseException:
            self._keep_rest(parts, collector)
            raise

    def _assemble(self, info: VectorsInfo, dim: int, parts: PartsFolder, last: Chunk) -> None:
        """The output, of all parts; a run that made less than one part writes it at once."""
        rows = parts.rows() + len(last.rows.names)
        target = self.target
        with create_vectors(target.format, WritePlan(target.path, info, rows, dim, target.dtype)) as writer:
            for chunk in chain(parts.chunks(), [last]):
                write_chunk(writer, chunk)
        if target.path is not None and target.url is not None:
            deliver(target.path, target.url)
        parts.remove()

    def _keep_rest(self, parts: PartsFolder, collector: Collector) -> None:
        """Interrupted: what is done since the last part becomes a part too."""
        with suppress(OutputError):
            parts.add(collector.take())
        if parts.files():
            done = sum(1 for _ in parts.inputs())
            self.report.talk.line(f"{done:,} {self.source.kind}s are done and kept; --resume goes on from there")

    def _outcomes(self, session: Embedder, wanted: Iterable[tuple[int, Input]]) -> Iterator[EmbedOutcome]:
        for outcome in self.source.outcomes(session, wanted):
            if outcome.error is None:
                self.report.ok()
            else:
                self.report.fail(outcome.name, outcome.error)
            yield outcome

    def _remaining(
        self, listing: Listing[Input], done: Iterator[Done], advance: Callable[[int], object]
    ) -> Iterator[tuple[int, Input]]:
        """What the parts of an interrupted run have not dealt with; they must be of the same inputs."""
        for position, one in listing:
            before = next(done, None)
            if before is None:
                yield position, one
                continue
            if (before.position, before.name) != (position, self.source.name_of(one)):
                raise _other_inputs(before.name, self.source.name_of(one))
            advance(1)
            self._resumed += not before.failed
            self.report.done += not before.failed
            self.report.failed += before.failed
        if (left := next(done, None)) is not None:
            raise _other_inputs(left.name, "nothing")

    def _finished(self, info: VectorsInfo, listing: Listing[Input]) -> VectorsInfo:
        if info.shard is None:
            return info
        return replace(info, shard=replace(info.shard, inputs=listing.count, listing=listing.digest))

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._writing += time.perf_counter() - started


def _require_some(listing: Listing[Input]) -> None:
    if listing.count == 0:
        raise InputsError("there is nothing to embed", hint="the list is empty")


def _other_inputs(before: str, now: str) -> UsageError:
    return UsageError(
        f"the interrupted run had other inputs: {printable(before)} stood where {printable(now)} stands now",
        hint="leave --resume away: what the cache holds is not computed again",
    )


def open_embedder(
    job: EmbedRun[ImageRef] | EmbedRun[TextRef], wishes: ClusterSpec | None, choice: Choice, options: SessionOptions
) -> AbstractContextManager[Embedder]:
    """A session for a run's inputs: of this machine, or of the cluster that is wished for.

    Raises:
        UsageError: texts, on a cluster.
    """
    if wishes is None:
        return job.open_session(choice, options)
    if job.source.kind != "image":
        raise UsageError("a cluster embeds images; texts take little", hint="leave --on away")
    from clipcli.session.ray.ray_session import open_cluster

    return open_cluster(wishes, choice, options, job.report.talk, expected_images=job.source.expected_images)
