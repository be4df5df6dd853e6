"""A run of `embed`, its target, and the summary of its time."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Generic, ParamSpec

from clipcli.core.console import printable
from clipcli.core.devices import cpu_with_bf16
from clipcli.core.redaction import redact
from clipcli.errors import InputsError, OutputError, UsageError
from clipcli.inputs.collect import Listing
from clipcli.runs.embed.embed_inputs import Input, keep_speed, print_estimate
from clipcli.session.session import Session, open_session
from clipcli.vectorfiles import Shard, VectorsInfo, WritePlan, create_vectors
from clipcli.vectorfiles.checkpoints import Collector, has_parts, open_parts, write_chunk
from clipcli.vectorfiles.columns import CarriedColumn, ColumnTypes
from clipcli.vectorfiles.writer import remove_staging_folder, upload_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from clipcli.core.console import RunSummary
    from clipcli.errors import ExitCode
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.texts import TextRef
    from clipcli.models.model import Model
    from clipcli.models.spec import Choice
    from clipcli.runs.base import Advance, Sink
    from clipcli.runs.embed.embed_inputs import EmbedInputs, EmbedOutcome
    from clipcli.session.prepare import SessionOptions, Timings
    from clipcli.session.ray.resources import ClusterSpec
    from clipcli.session.session import ImageEmbedder, Provenance
    from clipcli.vectorfiles import VectorDtype, VectorFormat
    from clipcli.vectorfiles.checkpoints import Chunk, Done, PartsFolder

Arguments = ParamSpec("Arguments")
_MODEL_STEP = "the model"
_LONG_SECONDS = 60.0
_MIN_UTILISATION = 0.5
"""If every step was idle for more than half of the time, the inputs arrived too slowly."""
PART_INPUTS = 1024
"""Inputs per part: the most that a kill can lose without the cache."""
_ENOUGH_TO_TELL = 50
"""Least number of inputs of a run whose speed is stored for --dry-run."""


def description(source: EmbedInputs[Input], target: EmbedTarget, provenance: Provenance, *, raw: bool) -> VectorsInfo:
    """Return the description of the vectors; the number of a shard's inputs is known only at the end."""
    index, count = target.shard
    return VectorsInfo(
        kind=source.kind,
        model=provenance.info.name,
        fingerprint=provenance.info.fingerprint,
        precision=provenance.precision,
        unit_length=not raw,
        prompts=source.prompts_name,
        decoding=", ".join(provenance.decoding) if source.kind == "image" else "",
        pixels=provenance.rendering if source.kind == "image" else "",
        shard=Shard(index, count, 0, "") if count > 1 else None,
        columns=tuple(map(CarriedColumn, source.columns)),
        parameters=provenance.info,
        scoring=provenance.scoring,
    )


@dataclass(frozen=True)
class EmbedTarget:
    """The checked output options."""

    path: Path | None
    """The file; None is stdout."""
    format: VectorFormat
    dtype: VectorDtype
    shard: tuple[int, int] = (1, 1)
    """(i, n): shard i of n."""
    resume: bool = False
    url: str | None = None
    """The URL to which the complete file at `path` is uploaded, or None."""
    pipe: str | None = None
    """A pipe or device that is written like stdout; then `path` is None."""

    @property
    def shown(self) -> str:
        """Return the name of the output for messages."""
        return redact(self.url) if self.url else str(self.path)


@dataclass
class EmbedRun(Generic[Input]):
    """A checked run of `embed`."""

    source: EmbedInputs[Input]
    target: EmbedTarget
    report: RunSummary
    raw: bool = False
    parts: PartsFolder | None = None
    """The folder of results until the output is complete; None for a stream."""
    _started: float = field(default_factory=time.perf_counter, repr=False)
    _writing: float = field(default=0.0, repr=False)
    _resumed: int = field(default=0, repr=False)

    @cached_property
    def _listing(self) -> Listing[Input]:
        return Listing(self.source.inputs, self.source.name_of, *self.target.shard)

    @property
    def unit(self) -> str:
        """Return the kind of input."""
        return self.source.kind

    @property
    def total(self) -> int | None:
        """Return the approximate number of inputs of this run, or None if unknown."""
        return None if self.source.count is None else -(-self.source.count // self.target.shard[1])

    def open_session(self, choice: Choice, options: SessionOptions) -> AbstractContextManager[Session]:
        """Return a session for these inputs."""
        images, texts = self.source.expected_images, self.source.expected_texts
        return open_session(choice, self.report.console, options, expected_images=images, expected_texts=texts)

    @contextmanager
    def hold_target(self) -> Iterator[None]:
        """Lock the output for the whole run, before a model is loaded.

        Raises:
            OutputError: the output cannot be written, or another process writes it.
        """
        target = self.target
        if target.path is None:
            yield
            return
        if not target.resume and has_parts(target.path):
            self.report.console.info("starting over; --resume would continue the interrupted run")
        with open_parts(target.path, target.dtype, resume=target.resume, name=target.shown) as self.parts:
            yield
        if target.url is not None:
            remove_staging_folder(target.path)

    @contextmanager
    def open_sink(self, session: ImageEmbedder) -> Iterator[Sink[EmbedOutcome]]:
        """Open the output: a stream, or parts on disk that become one file after the last input.

        Raises:
            OutputError: the output cannot be written; finished results stay in the folder of parts.
        """
        provenance, target = session.provenance, self.target
        info, collector = description(self.source, target, provenance, raw=self.raw), self._collector(provenance)
        if self.parts is None:
            with create_vectors(
                target.format, WritePlan(None, info, 0, provenance.info.dim, target.dtype, target.pipe)
            ) as out:
                yield _Sink(collector, 1, lambda chunk: self._timed(write_chunk, out, chunk))
            return
        parts = self.parts
        parts.begin(info, provenance.info.dim)
        try:
            yield _Sink(collector, PART_INPUTS, lambda chunk: self._timed(parts.add, chunk))
            self._timed(self._assemble, self._finished(info), provenance.info.dim, parts, collector.chunk())
        except BaseException:
            self._keep_rest(parts, collector)
            raise

    def _collector(self, provenance: Provenance) -> Collector:
        return Collector(provenance.info.dim, carries=bool(self.source.columns))

    def rows(self, session: ImageEmbedder, advance: Advance) -> Iterator[EmbedOutcome]:
        """Yield a vector or an error for each input that no earlier run has processed.

        Raises:
            InputsError: there is nothing to embed.
            ModelError: the model cannot be used.
        """
        inputs: Iterable[tuple[int, Input]] = self._listing
        if self.parts is not None:
            inputs = self._remaining(self.parts.inputs(), advance)
        for outcome in self.source.outcomes(session, inputs):
            if outcome.error is None:
                self.report.ok()
            else:
                self.report.fail(outcome.name, outcome.error)
            advance(1)
            yield outcome
        if self._listing.count == 0:
            raise InputsError("there is nothing to embed", hint="the list is empty")

    def print_estimate(self, session: Session) -> None:
        """Print an estimate of the work without embedding anything."""
        print_estimate(session, self.source, self.target.shard)

    def finish(self, session: ImageEmbedder) -> ExitCode:
        """Print the summary, and return the exit code."""
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
        """Write the output from all parts and the last chunk."""
        rows = parts.rows() + len(last.rows.names)
        types = ColumnTypes(info.columns)
        types.merge(parts.columns())
        types.add(last.rows.fields or ())
        target, info = self.target, replace(info, columns=types.columns)
        with create_vectors(target.format, WritePlan(target.path, info, rows, dim, target.dtype)) as writer:
            for chunk in chain(parts.chunks(), [last]):
                write_chunk(writer, chunk)
        if target.path is not None and target.url is not None:
            upload_vectors(target.path, target.url)
        parts.remove()

    def _keep_rest(self, parts: PartsFolder, collector: Collector) -> None:
        """Save the results since the last part after an interruption."""
        with suppress(OutputError):
            parts.add(collector.take())
        if parts.files():
            count = sum(1 for _ in parts.inputs())
            self.report.console.line(f"{count:,} {self.source.kind}s are finished; --resume continues from there")

    def _remaining(self, finished: Iterator[Done], advance: Advance) -> Iterator[tuple[int, Input]]:
        """Yield the inputs that are not in the parts of an interrupted run, which must have the same inputs."""
        for position, item in self._listing:
            input_done = next(finished, None)
            if input_done is None:
                yield position, item
                continue
            if (input_done.position, input_done.name) != (position, self.source.name_of(item)):
                raise _other_inputs(input_done.name, self.source.name_of(item))
            advance(1)
            self._resumed += not input_done.failed
            self.report.done += not input_done.failed
            self.report.failed += input_done.failed
        if (extra := next(finished, None)) is not None:
            raise _other_inputs(extra.name, "nothing")

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
    """Collects outcomes and writes them in chunks."""

    collector: Collector
    inputs: int
    """Number of inputs per chunk."""
    write_chunk: Callable[[Chunk], None]

    def write(self, row: EmbedOutcome) -> None:
        self.collector.add(row.name, row.vector, row.position, row.failure, row.fields)
        if len(self.collector) >= self.inputs:
            self.write_chunk(self.collector.take())


def _other_inputs(resumed: str, now: str) -> UsageError:
    return UsageError(
        f"the interrupted run had other inputs: {printable(resumed)} in place of {printable(now)}",
        hint="leave out --resume; cached vectors are not computed again",
    )


def open_embedder(
    job: EmbedRun[ImageRef] | EmbedRun[TextRef],
    cluster_spec: ClusterSpec | None,
    choice: Choice,
    options: SessionOptions,
) -> AbstractContextManager[ImageEmbedder]:
    """Return a session for a run's inputs, on this machine or on the requested cluster.

    Raises:
        UsageError: texts with a cluster.
    """
    if cluster_spec is None:
        return job.open_session(choice, options)
    if job.source.kind != "image":
        raise UsageError("--ray is for images only", hint="leave out --ray")
    from clipcli.session.ray.cluster import open_cluster

    return open_cluster(cluster_spec, choice, options, job.report.console, expected_images=job.source.expected_images)


@dataclass(frozen=True)
class RunFigures:
    """The figures of a run."""

    unit: str
    done: int
    """Number of inputs with a vector."""
    seconds: float
    writing: float
    """Seconds spent writing."""
    workers: int
    """Number of threads that read and decode."""
    models: int = 1
    """Number of batches encoded at the same time."""
    resumed: int = 0
    """The part of `done` from an interrupted run."""


def summary(timings: Timings, run: RunFigures) -> str:
    """Return `200 images in 12.3 s (16.3/s, 40 from the cache): read 2 %, decode 31 %, model 66 %, write 1 %; …`."""
    newly_done = run.done - run.resumed
    rate = newly_done / run.seconds if run.seconds else 0.0
    cached = f", {timings.cached:,} from the cache" if timings.cached else ""
    resumed = f", after {run.resumed:,} of a stopped run" if run.resumed else ""
    unit = run.unit if newly_done == 1 else f"{run.unit}s"
    head = f"{newly_done:,} {unit} in {run.seconds:.1f} s ({rate:,.1f}/s{cached}){resumed}"
    steps = {"read": timings.read, "decode": timings.decode, "model": timings.model, "write": run.writing}
    total = sum(steps.values())
    if total == 0:
        return head
    shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in steps.items())
    return f"{head}; of the work: {shares}; bottleneck: {bottleneck(timings, run)}"


def advice(model: Model, timings: Timings, run: RunFigures) -> str | None:
    """Return how the next long run could be faster, if the CPU supports bf16, else None."""
    if run.seconds < _LONG_SECONDS or bottleneck(timings, run) != _MODEL_STEP:
        return None
    may_change = model.choice.precision == "auto" and model.spec.kind != "bundle"
    if not may_change or model.runs_on_gpu or model.precision != "fp32" or not cpu_with_bf16():
        return None
    return (
        "this CPU computes in bfloat16: --precision bf16 may be several times as fast (its vectors differ a little, "
        "and are kept apart)"
    )


def bottleneck(timings: Timings, run: RunFigures) -> str:
    """Return the step with the highest utilisation, per thread or parallel batch."""
    wall = max(run.seconds, 1e-9)
    busy = {
        "reading": timings.read / run.workers / wall,
        "decoding": (timings.decode + timings.read) / run.workers / wall if timings.decode > timings.read else 0.0,
        _MODEL_STEP: timings.model / run.models / wall,
        "writing": run.writing / wall,
    }
    slowest = max(busy, key=lambda name: busy[name])
    return slowest if busy[slowest] >= _MIN_UTILISATION else "starting up, or waiting for the inputs"
