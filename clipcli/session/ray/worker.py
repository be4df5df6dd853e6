"""What runs on a node: one session, opened at the first task and kept."""

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
    from clipcli.models.choice import Choice
    from clipcli.session.session import Session
    from clipcli.session.session_options import SessionOptions


@dataclass(frozen=True)
class WorkerSpec:
    """What every worker is to do in the same way."""

    choice: Choice
    options: SessionOptions
    expected_images: int | None
    folder: str
    """Where relative paths start."""

    def open(self, stack: ExitStack) -> Session:
        """Return the session that the order describes, closed with `stack`."""
        with suppress(OSError):  # a node without this folder has no file of a relative path either
            os.chdir(self.folder)
        return stack.enter_context(
            open_session(self.choice, Console(quiet=True), self.options, expected_images=self.expected_images)
        )


@dataclass(frozen=True)
class WorkerModel:
    """The model as a node has it; all nodes must agree."""

    info: ModelInfo
    scoring: Scoring
    precision: Precision
    version: str = __version__
    """Of clipcli."""


def describe(order: WorkerSpec) -> WorkerModel:
    """Learn what the model is, on a node. It is fetched and loaded where that is not known there yet.

    Raises:
        ModelError: it cannot be used.
    """
    with ExitStack() as stack:
        return _description(order.open(stack))


def this_folder() -> str:
    """Return the folder that relative paths start at."""
    return str(Path.cwd())


class Worker:
    """An actor. Everything that can go wrong does so in a task, where it can be told from a worker's death."""

    def __init__(self, order: WorkerSpec, expected: WorkerModel, restarts: Callable[[], str]) -> None:
        self._order = order
        self._expected = expected
        self._restarts = restarts
        self._session: Session | None = None
        self._stack = ExitStack()

    def __call__(self, batch: Any) -> Any:
        """Turn a table of references into a table of results.

        Raises:
            ModelError: the model cannot be used on this node.
            ClusterError: it is another one here than on the other nodes.
        """
        session = self._session or self._open()
        before = session.timings
        read, decode, model = before.read, before.decode, before.model
        encoded, cached = before.encoded, before.cached
        results = list(session.embed_images(refs_of(batch)))
        now = session.timings
        aside = WorkerStats(
            read=now.read - read,
            decode=now.decode - decode,
            model=now.model - model,
            encoded=now.encoded - encoded,
            cached=now.cached - cached,
            restarts=self._restarts(),
        )
        return result_table(batch.column("ref"), results, session.info.dim, aside)

    def _open(self) -> Session:
        session = self._order.open(self._stack)
        check_alike(_description(session), self._expected)
        self._session = session
        return session


def check_alike(here: WorkerModel, there: WorkerModel) -> None:
    """Refuse vectors of different models, precisions or versions in one output.

    Raises:
        ClusterError: says what differs.
    """
    for name, hint in (
        ("version", "install the same clipcli everywhere"),
        ("info", "the nodes have different files of this model"),
        ("precision", "name one with --precision"),
        ("scoring", "the nodes have different files of this model"),
    ):
        local, remote = getattr(here, name), getattr(there, name)
        if local != remote:
            shown = (local.fingerprint, remote.fingerprint) if name == "info" else (local, remote)
            what = {"version": "clipcli", "info": "the model"}.get(name, name)
            raise ClusterError(f"the nodes differ in {what}: {shown[0]} here, {shown[1]} there", hint=hint)


def _description(session: Session) -> WorkerModel:
    return WorkerModel(session.info, session.scoring, session.model.precision)
