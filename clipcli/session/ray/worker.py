"""The worker on a node: one session, opened with the first task and kept."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli import __version__
from clipcli.core.console import Console
from clipcli.errors import ClusterError
from clipcli.session.ray.tables import WorkerStats, refs_of, result_table
from clipcli.session.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.core.encoder import ModelInfo, Precision, Scoring
    from clipcli.models.spec import Choice
    from clipcli.session.session import Session
    from clipcli.session.session_options import SessionOptions


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
