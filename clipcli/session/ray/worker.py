"""The worker on a node, and the Arrow tables that travel to it and back.

A worker has one session, opened with the first task and kept. It gets tables of references, and returns their vectors
or errors. References are encoded as JSON, not pickled, so that a table holds data only; names may hold any bytes. All
nodes must run the same clipcli, which the caller checks.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from clipcli import __version__
from clipcli.core.arrow import pyarrow
from clipcli.core.console import Console
from clipcli.errors import ClusterError, ImageError
from clipcli.inputs.sources.expand import RemoteObject
from clipcli.inputs.sources.parquet import Cell
from clipcli.inputs.sources.refs import ImageRef
from clipcli.inputs.sources.tar import TarMember
from clipcli.session.pipeline import Embedded
from clipcli.session.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.core.encoder import ModelInfo, Precision, Scoring
    from clipcli.errors import Stage
    from clipcli.inputs.sources.refs import ByteSource
    from clipcli.models.spec import Choice
    from clipcli.session.prepare import SessionOptions
    from clipcli.session.session import Session

_KINDS: Final[dict[str, Any]] = {"object": RemoteObject, "member": TarMember, "cell": Cell}


def to_json(ref: ImageRef) -> str:
    """Return a reference as ASCII JSON, including undecodable bytes of names."""
    return json.dumps([ref.path, ref.name, ref.problem, _source_to_json(ref.source)])


def from_json(text: str) -> ImageRef:
    """Decode a reference. Raises ValueError, TypeError or KeyError for other texts."""
    path, name, problem, source = json.loads(text)
    return ImageRef(path, name, problem, None if source is None else _KINDS[source[0]](*source[1:]))


def _source_to_json(source: ByteSource | None) -> list[Any] | None:
    if source is None:
        return None
    kind = next(name for name, known in _KINDS.items() if type(source) is known)
    values: Any = source
    return [kind, *(getattr(values, field.name) for field in fields(values))]


@dataclass(frozen=True)
class WorkerStats:
    """A worker's statistics, sent once per task."""

    read: float
    """Seconds, summed over threads; the same for `decode` and `model`."""
    decode: float
    model: float
    encoded: int
    cached: int
    restarts: str = ""
    """The name of the worker if it replaces a dead one; empty otherwise."""


def ref_tables(refs: Iterable[ImageRef], rows: int, at_most: int) -> list[Any]:
    """Return the next references as at most `at_most` tables of `rows` each; empty at the end."""
    stream = iter(refs)
    arrow = pyarrow()
    tables: list[Any] = []
    while len(tables) < at_most and (batch := list(islice(stream, rows))):
        tables.append(arrow.table({"ref": arrow.array(list(map(to_json, batch)), arrow.string())}))
    return tables


def refs_of(table: Any) -> list[ImageRef]:
    """Return the references of a table."""
    return [from_json(text) for text in table.column("ref").to_pylist()]


def result_table(refs: Any, results: Sequence[Embedded], dim: int, stats: WorkerStats) -> Any:
    """Return a table of results, with their references.

    Args:
        refs: the column of references.
        results: one result per reference.
        dim: length of a vector.
        stats: statistics, stored in the first row.
    """
    arrow = pyarrow()
    vectors = np.zeros((len(results), dim), np.float32)
    for row, result in enumerate(results):
        if result.vector is not None:
            vectors[row] = result.vector
    flat = arrow.array(vectors.reshape(-1), arrow.float32())
    stats_column = [json.dumps(asdict(stats))] + [""] * (len(results) - 1)
    return arrow.table(
        {
            "ref": refs,
            "digest": arrow.array([result.digest for result in results], arrow.string()),
            "stage": arrow.array([result.error.stage if result.error else None for result in results], arrow.string()),
            "reason": arrow.array(
                [_utf8(result.error.reason) if result.error else None for result in results], arrow.string()
            ),
            "vector": arrow.FixedSizeListArray.from_arrays(flat, dim),
            "stats": arrow.array(stats_column, arrow.string()),
        }
    )


def results_of(table: Any) -> Iterator[Embedded]:
    """Yield the results of a table."""
    column = table.column("vector").combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    digests, stages, reasons = (table.column(name).to_pylist() for name in ("digest", "stage", "reason"))
    for row, ref in enumerate(refs_of(table)):
        if stages[row] is None:
            yield Embedded(ref, vectors[row], None, digests[row])
        else:
            yield Embedded(ref, None, ImageError(cast("Stage", stages[row]), reasons[row]), digests[row])


def stats_of(table: Any) -> list[WorkerStats]:
    """Return the statistics in a table."""
    return [WorkerStats(**json.loads(text)) for text in table.column("stats").to_pylist() if text]


def _utf8(text: str) -> str:
    """Return a text with undecodable bytes escaped; a reason may quote such a name."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class WorkerSpec:
    """The settings that all workers share."""

    choice: Choice
    options: SessionOptions
    expected_images: int | None
    folder: str
    """The folder to which relative paths refer."""

    def open(self, stack: ExitStack) -> Session:
        """Open the session; it is closed with `stack`."""
        with suppress(OSError):  # a node without this folder has no files with relative paths either
            os.chdir(self.folder)
        return stack.enter_context(
            open_session(self.choice, Console(quiet=True), self.options, expected_images=self.expected_images)
        )


@dataclass(frozen=True)
class WorkerModel:
    """The description of the model on a node; all nodes must agree."""

    info: ModelInfo
    scoring: Scoring
    precision: Precision
    version: str = __version__
    """The version of clipcli."""


def describe(worker_spec: WorkerSpec) -> WorkerModel:
    """Return the description of the model on a node; download and load the model if necessary.

    Raises:
        ModelError: the model cannot be used.
    """
    with ExitStack() as stack:
        return _description(worker_spec.open(stack))


def this_folder() -> str:
    """Return the working folder."""
    return str(Path.cwd())


class Worker:
    """The actor. It opens its session in a task, so that an error is not mistaken for the death of a worker."""

    def __init__(self, worker_spec: WorkerSpec, expected: WorkerModel, restarts: Callable[[], str]) -> None:
        self._worker_spec = worker_spec
        self._expected = expected
        self._restarts = restarts
        self._session: Session | None = None
        self._stack = ExitStack()

    def __call__(self, batch: Any) -> Any:
        """Turn a table of references into a table of results.

        Raises:
            ModelError: the model cannot be used on this node.
            ClusterError: the model on this node differs from that of other nodes.
        """
        session = self._session or self._open()
        before = session.timings
        read_before, decode_before, model_before = before.read, before.decode, before.model
        encoded_before, cached_before = before.encoded, before.cached
        results = list(session.embed_images(refs_of(batch)))
        now = session.timings
        stats = WorkerStats(
            read=now.read - read_before,
            decode=now.decode - decode_before,
            model=now.model - model_before,
            encoded=now.encoded - encoded_before,
            cached=now.cached - cached_before,
            restarts=self._restarts(),
        )
        return result_table(batch.column("ref"), results, session.info.dim, stats)

    def _open(self) -> Session:
        session = self._worker_spec.open(self._stack)
        check_alike(_description(session), self._expected)
        self._session = session
        return session


def check_alike(local_model: WorkerModel, remote_model: WorkerModel) -> None:
    """Check that two nodes have the same model, precision and version.

    Raises:
        ClusterError: names the difference.
    """
    for name, hint in (
        ("version", "install the same version of clipcli on all nodes"),
        ("info", "the nodes have different files of this model"),
        ("precision", "choose one with --precision"),
        ("scoring", "the nodes have different files of this model"),
    ):
        local, remote = getattr(local_model, name), getattr(remote_model, name)
        if local != remote:
            values = (local.fingerprint, remote.fingerprint) if name == "info" else (local, remote)
            label = {"version": "clipcli", "info": "the model"}.get(name, name)
            raise ClusterError(f"the nodes differ in {label}: {values[0]} here, {values[1]} there", hint=hint)


def _description(session: Session) -> WorkerModel:
    return WorkerModel(session.info, session.scoring, session.model.precision)
