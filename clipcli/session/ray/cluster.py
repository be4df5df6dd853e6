"""Ray itself: the one module that imports it."""

from __future__ import annotations

import inspect
import logging
import os
import re
import socket
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from clipcli.core.optional_packages import require_packages
from clipcli.errors import ClipcliError, ClusterError, UsageError
from clipcli.session.ray.resources import Node, WorkerPool, plan_pool
from clipcli.session.ray.worker import Worker, describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.session.ray.resources import ClusterSpec
    from clipcli.session.ray.worker import WorkerModel, WorkerSpec

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOW_MEMORY = re.compile(r"low on memory|memory pressure|OutOfMemory")


@contextmanager
def start_muted() -> Iterator[None]:
    """While Ray's core starts nothing else of this process speaks, so its descriptor leads nowhere."""
    sys.stderr.flush()
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


@contextmanager
def ray_words(console: Console) -> Iterator[None]:
    """Send what the nodes report to the console instead of stdout; rows go to stdout as before."""
    real = sys.stdout
    sys.stdout = _Words(real, console)
    try:
        yield
    finally:
        sys.stdout = real


class _Words:
    """Stdout as far as bytes go; what is printed is Ray's."""

    def __init__(self, real: IO[str], console: Console) -> None:
        self._real = real
        self._console = console
        self._rest = ""

    def write(self, text: str) -> int:
        """Take lines as they are completed."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if message := _COLOUR.sub("", line).strip():
                self._console.debug(message)
            if _LOW_MEMORY.search(line):
                self._console.info_once("a node ran low on memory and Ray ended a worker there; it is started again")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


_CONNECT_SECONDS = 10.0
_OF_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _OF_SETTINGS + bytes(5)
"""What opens a connection of gRPC: HTTP/2's preface and a frame of no settings. Such a frame begins the answer too."""
_PATIENCE_SECONDS = 30.0
"""After this long without a free worker it is said that one is waited for."""
_TRIES = 100
"""How often a task is given out again when its worker dies: an image may kill each worker that opens it. Tries are also
used up while nobody has noticed yet that a node is gone, so few would not do."""
_AHEAD = 2
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS": "0",  # else some words are held back until the process ends
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # of a cluster started here: it is this run, and no less urgent than one without
}
"""No figures are sent anywhere; what Ray's own processes mutter stays in their log files."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to."""

    ray: Any
    wishes: ClusterSpec
    console: Console

    def plan(self, device: str) -> WorkerPool:
        """Share its nodes out.

        Raises:
            ClusterError: it has no room.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        pool = plan_pool([Node(have.get("CPU", 0.0), have.get("GPU", 0.0)) for have in nodes], self.wishes, device)
        gpus = f" and {pool.gpus:g} GPUs" if pool.gpus else ""
        self.console.debug(f"nodes: {len(nodes)}; workers: {pool.workers}, of {pool.cpus} cores{gpus} each")
        if pool.room < pool.workers:
            self.console.info(f"the cluster has room for {pool.room} of {pool.workers} workers now")
        return pool

    def describe(self, order: WorkerSpec, pool: WorkerPool) -> WorkerModel:
        """Return what the model is, learnt on a node of the kind that will run it.

        Raises:
            ModelError: it cannot be used there.
            ClusterError: the node cannot run clipcli.
        """
        remote = self.ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, max_retries=_TRIES)(describe)
        with _plain_errors(self.ray):
            result = remote.remote(order)
            if not self.ray.wait([result], timeout=_PATIENCE_SECONDS)[0]:
                self.console.info("waiting for the first worker: a free place in the cluster, or the model")
            model: WorkerModel = self.ray.get(result)
            return model

    def run(self, tables: Sequence[Any], order: WorkerSpec, expected: WorkerModel, pool: WorkerPool) -> Iterator[Any]:
        """Tables of references → tables of results, in their order.

        Raises:
            ClipcliError: what a worker met, or that workers keep dying.
        """
        with _plain_errors(self.ray):
            if not self.wishes.is_client:
                yield from _stream(tables, order, expected, pool)
                return
            # Ray Data does not run behind Ray Client: there its driver is an actor of the cluster.
            relay = self.ray.remote(num_cpus=0)(_Relay).remote(tables, order, expected, pool)
            waiting = [relay.next.remote() for _ in range(_AHEAD)]
            while (table := self.ray.get(waiting.pop(0))) is not None:
                waiting.append(relay.next.remote())
                yield table


class _Relay:
    """Hands results on, one table a call."""

    def __init__(self, tables: Sequence[Any], order: WorkerSpec, expected: WorkerModel, pool: WorkerPool) -> None:
        self._stream = _stream(tables, order, expected, pool)

    def next(self) -> Any:
        """Return the next table; None after the last."""
        return next(self._stream, None)


def _stream(tables: Sequence[Any], order: WorkerSpec, expected: WorkerModel, pool: WorkerPool) -> Iterator[Any]:
    """Ray Data at work: it streams, holds back when results are not fetched, and starts dead workers again."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is raised is said once, by the caller
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    actors = ray.data.ActorPoolStrategy(min_size=1, max_size=pool.workers, initial_size=min(pool.workers, pool.room))
    dataset = ray.data.from_blocks(list(tables))
    # Ray is about to take this argument away; without it a task is given out again for ever.
    lasting: dict[str, Any] = {"ray_remote_args_fn": _lasting} if _has_parameter(dataset, "ray_remote_args_fn") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = dataset.map_batches(
            Worker,
            fn_constructor_args=(order, expected, _restarts),
            batch_size=None,
            batch_format="pyarrow",
            compute=actors,
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            **lasting,
        )
    yield from results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=_AHEAD)


def _has_parameter(dataset: Any, name: str) -> bool:
    return name in inspect.signature(dataset.map_batches).parameters


def _lasting() -> dict[str, int]:
    """Return how Ray treats a worker: a dead one is always started again, its work only a few times."""
    return {"max_restarts": -1, "max_task_retries": _TRIES}


def _restarts() -> str:
    """Node and process of the worker that this runs in, when it took a dead one's place; else empty."""
    ray = _ray()
    if not ray.get_runtime_context().was_current_actor_reconstructed:
        return ""
    return f"on {ray.util.get_node_ip_address()}, process {os.getpid()}"


@contextmanager
def connect(wishes: ClusterSpec, console: Console) -> Iterator[Cluster]:
    """Join the cluster, or start one.

    Raises:
        UsageError: ray is not installed.
        ClusterError: there is no such cluster.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    ray = _ray()
    address = "local" if wishes.is_local else wishes.address
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if wishes.is_local:
        settings["include_dashboard"] = False
        console.info("starting a Ray cluster on this machine")
    elif wishes.endpoint is not None:
        _knock(wishes.address, wishes.endpoint)
    try:
        with start_muted():
            ray.init(address=address, **settings)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _not_there(wishes.address, error) from error
    with ray_words(console):
        try:
            yield Cluster(ray, wishes, console)
        finally:
            ray.shutdown()


def _ray() -> Any:
    require_packages("ray", "--ray", UsageError)
    import ray
    import ray.data

    return ray


def _knock(address: str, endpoint: tuple[str, int]) -> None:
    """See whether Ray may be there: at a port of something else, such as its dashboard, it tries for ten minutes."""
    try:
        with socket.create_connection(endpoint, timeout=_CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "1":
                connection.sendall(_GREETING)
                if connection.makefile("rb").read(4)[3:] != _OF_SETTINGS:
                    raise ConnectionError("something else answers there (the head's port is 6379 as a rule)")
    except (OSError, OverflowError) as error:
        raise _not_there(address, error) from error


def _not_there(address: str, error: Exception) -> ClusterError:
    why = (getattr(error, "strerror", None) or str(error)).strip().partition("\n")[0].rstrip(".").lower()
    hint = "ray status shows a cluster's nodes; where it asks for a token, set RAY_AUTH_MODE=token"
    return ClusterError(f"no Ray cluster at {address}: {why}", hint=hint)


@contextmanager
def _plain_errors(ray: Any) -> Iterator[None]:
    """What a worker raised as it was raised; what became of the cluster, in one line."""
    errors = ray.exceptions
    try:
        yield
    except errors.RayError as error:
        exception: BaseException | None = error
        while exception is not None:
            cause = getattr(exception, "cause", None)
            if isinstance(cause, ClipcliError):
                raise cause from None
            exception = cause if isinstance(cause, BaseException) else exception.__cause__
        if "No module named 'clipcli'" in str(error):
            raise ClusterError("clipcli is not installed on the cluster's nodes") from error
        deaths = (errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError, errors.ObjectLostError)
        if isinstance(error, deaths):
            raise ClusterError(
                "the cluster's workers keep dying, or it went away", hint="what is done is kept: --resume"
            ) from error
        raise
