"""One run of `embed`."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Generic, ParamSpec

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
from clipcli.vectorfiles.destination import remove_staging_folder, upload_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clipcli.core.console import Console
    from clipcli.errors import ExitCode
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.texts import TextRef
    from clipcli.models.choice import Choice
    from clipcli.options.embed import TextOptions, VectorOptions
    from clipcli.options.shared import InputOptions
    from clipcli.runs.base import Advance, Sink
    from clipcli.runs.embed.embed_inputs import EmbedInputs, EmbedOutcome
    from clipcli.runs.embed.target import EmbedTarget
    from clipcli.session.image_embedder import ImageEmbedder, Provenance
    from clipcli.session.ray.resources import ClusterSpec
    from clipcli.session.session_options import SessionOptions
    from clipcli.vectorfiles.checkpoints import Chunk, Done, PartsFolder


def description(source: EmbedInputs[Input], target: EmbedTarget, made: Provenance, *, raw: bool) -> VectorsInfo:
    """Return what a file says of its vectors; of a shard, the number of its inputs is known at the end only."""
    index, count = target.shard
    return VectorsInfo(
        kind=source.kind,
        model=made.info.name,
        fingerprint=made.info.fingerprint,
        precision=made.precision,
        unit_length=not raw,
        prompts=source.prompts_name,
        decoding=", ".join(made.decoding) if source.kind == "image" else "",
        pixels=made.rendering if source.kind == "image" else "",
        shard=Shard(index, count, 0, "") if count > 1 else None,
        parameters=made.info,
        scoring=made.scoring,
    )


Arguments = ParamSpec("Arguments")
PART_INPUTS = 1024
"""Inputs a part: what a kill costs at most where the cache is not used."""
_ENOUGH_TO_TELL = 50
"""Inputs after which a run's speed is worth keeping for the next --dry-run."""


def plan(
    inputs: InputOptions, texts: TextOptions, out: VectorOptions, console: Console
) -> EmbedRun[ImageRef] | EmbedRun[TextRef]:
    """Check everything that was asked before a model is touched.

    Raises:
        UsageError: options that do not go together.
        InputsError: nothing to embed, or prompts that cannot be used.
    """
    target = parse_target(out.output, out.format, out.dtype, out.shard, resume=out.resume)
    source = parse_source(inputs, texts, console)
    if isinstance(source, ImageSource):
        return EmbedRun(source, target, RunSummary(console), raw=not out.normalize)
    return EmbedRun(source, target, RunSummary(console), raw=not out.normalize)


@dataclass
class EmbedRun(Generic[Input]):
    """One run, ready to go."""

    source: EmbedInputs[Input]
    target: EmbedTarget
    report: RunSummary
    raw: bool = False
    parts: PartsFolder | None = None
    """Where results are kept until the output is made; None for a stream."""
    _started: float = field(default_factory=time.perf_counter, repr=False)
    _writing: float = field(default=0.0, repr=False)
    _resumed: int = field(default=0, repr=False)

    @cached_property
    def _listing(self) -> Listing[Input]:
        return Listing(self.source.inputs, self.source.name_of, *self.target.shard)

    @property
    def unit(self) -> str:
        """Return what an input is called."""
        return self.source.kind

    @property
    def total(self) -> int | None:
        """Return how many inputs this run will deal with, about; None when nobody knows."""
        return None if self.source.count is None else -(-self.source.count // self.target.shard[1])

    def open_session(self, choice: Choice, options: SessionOptions) -> AbstractContextManager[Session]:
        """Return a session for these inputs."""
        images, texts = self.source.expected_images, self.source.expected_texts
        return open_session(choice, self.report.console, options, expected_images=images, expected_texts=texts)

    @contextmanager
    def hold_target(self) -> Iterator[None]:
        """Hold the place where the results go for the whole run, before a model is loaded.

        Raises:
            OutputError: it cannot be written, or another process writes it.
        """
        target = self.target
        if target.path is None:
            yield
            return
        if not target.resume and has_parts(target.path):
            self.report.console.info("beginning anew, without the parts of a stopped run (--resume goes on with them)")
        with open_parts(target.path, target.dtype, resume=target.resume, name=target.shown) as self.parts:
            yield
        if target.url is not None:
            remove_staging_folder(target.path)

    @contextmanager
    def open_sink(self, session: ImageEmbedder) -> Iterator[Sink[EmbedOutcome]]:
        """Open the output: a stream, or parts on disk that become one file after the last input.

        Raises:
            OutputError: the output cannot be written; what is done stays in the folder of parts.
        """
        made, target = session.provenance, self.target
        info, collector = description(self.source, target, made, raw=self.raw), Collector(made.info.dim)
        if self.parts is None:
            with create_vectors(
                target.format, WritePlan(None, info, 0, made.info.dim, target.dtype, target.pipe)
            ) as out:
                yield _Sink(collector, 1, lambda chunk: self._timed(write_chunk, out, chunk))
            return
        parts = self.parts
        parts.begin(info, made.info.dim)
        try:
            yield _Sink(collector, PART_INPUTS, lambda chunk: self._timed(parts.add, chunk))
            self._timed(self._assemble, self._finished(info), made.info.dim, parts, collector.chunk())
        except BaseException:
            self._keep_rest(parts, collector)
            raise

    def rows(self, session: ImageEmbedder, advance: Advance) -> Iterator[EmbedOutcome]:
        """Yield a vector or an error for each input that no earlier run has dealt with.

        Raises:
            InputsError: there is nothing to embed.
            ModelError: the model cannot be used.
        """
        wanted: Iterable[tuple[int, Input]] = self._listing
        if self.parts is not None:
            wanted = self._remaining(self.parts.inputs(), advance)
        for outcome in self.source.outcomes(session, wanted):
            if outcome.error is None:
                self.report.ok()
            else:
                self.report.fail(outcome.name, outcome.error)
            advance(1)
            yield outcome
        if self._listing.count == 0:
            raise InputsError("there is nothing to embed", hint="the list is empty")

    def print_estimate(self, session: Session) -> None:
        """Say how much there is to do; nothing is embedded."""
        print_estimate(session, self.source, self.target.shard)

    def finish(self, session: ImageEmbedder) -> ExitCode:
        """Say how it went, and return the exit code."""
        unit = self.source.kind
        self.report.summarise(unit)
        wall = time.perf_counter() - self._started
        timings, side_by_side = session.timings, session.parallelism
        if isinstance(session, Session) and timings.encoded >= _ENOUGH_TO_TELL and not timings.cached:
            keep_speed(session, unit, timings.encoded / wall)
        run = RunFigures(
            unit, self.report.done, wall, self._writing, side_by_side.workers, side_by_side.models, self._resumed
        )
        self.report.console.info(summary(timings, run))
        if isinstance(session, Session) and (hint := advice(session.model, timings, run)):
            self.report.console.info(hint)
        return self.report.exit_code

    def _assemble(self, info: VectorsInfo, dim: int, parts: PartsFolder, last: Chunk) -> None:
        """The output, of all parts; a run that made less than one part writes it at once."""
        rows = parts.rows() + len(last.rows.names)
        target = self.target
        with create_vectors(target.format, WritePlan(target.path, info, rows, dim, target.dtype)) as writer:
            for chunk in chain(parts.chunks(), [last]):
                write_chunk(writer, chunk)
        if target.path is not None and target.url is not None:
            upload_vectors(target.path, target.url)
        parts.remove()

    def _keep_rest(self, parts: PartsFolder, collector: Collector) -> None:
        """Interrupted: what is done since the last part becomes a part too."""
        with suppress(OutputError):
            parts.add(collector.take())
        if parts.files():
            done = sum(1 for _ in parts.inputs())
            self.report.console.line(f"{done:,} {self.source.kind}s are done and kept; --resume goes on from there")

    def _remaining(self, done: Iterator[Done], advance: Advance) -> Iterator[tuple[int, Input]]:
        """Yield what the parts of an interrupted run have not dealt with; they must be of the same inputs."""
        for position, one in self._listing:
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

    def _finished(self, info: VectorsInfo) -> VectorsInfo:
        if info.shard is None:
            return info
        return replace(info, shard=replace(info.shard, inputs=self._listing.count, listing=self._listing.digest))

    def _timed(self, write: Callable[Arguments, None], *arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        started = time.perf_counter()
        try:
            write(*arguments, **named)
        finally:
            self._writing += time.perf_counter() - started


@dataclass(frozen=True)
class _Sink:
    """Takes outcomes, and hands them on in chunks."""

    collector: Collector
    inputs: int
    """How many make a chunk."""
    write_chunk: Callable[[Chunk], None]

    def write(self, row: EmbedOutcome) -> None:
        self.collector.add(row.name, row.vector, row.position, row.failure)
        if len(self.collector) >= self.inputs:
            self.write_chunk(self.collector.take())


def _other_inputs(before: str, now: str) -> UsageError:
    return UsageError(
        f"the interrupted run had other inputs: {printable(before)} stood where {printable(now)} stands now",
        hint="leave out --resume: what the cache holds is not computed again",
    )


def open_embedder(
    job: EmbedRun[ImageRef] | EmbedRun[TextRef],
    cluster_spec: ClusterSpec | None,
    choice: Choice,
    options: SessionOptions,
) -> AbstractContextManager[ImageEmbedder]:
    """Return a session for a run's inputs: of this machine, or of the cluster that is wished for.

    Raises:
        UsageError: texts, on a cluster.
    """
    if cluster_spec is None:
        return job.open_session(choice, options)
    if job.source.kind != "image":
        raise UsageError("a cluster embeds images; texts take little", hint="leave out --ray")
    from clipcli.session.ray.ray_session import open_cluster

    return open_cluster(cluster_spec, choice, options, job.report.console, expected_images=job.source.expected_images)
