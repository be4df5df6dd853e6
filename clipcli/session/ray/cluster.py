"""A Ray cluster behind the interface of a session: references in, vectors in the same order out.

Only this module imports Ray.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import socket
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from clipcli.core.optional_packages import require_packages
from clipcli.errors import ClipcliError, ClusterError, UsageError
from clipcli.session.prepare import Timings
from clipcli.session.ray.resources import Node, WorkerPool, plan_pool
from clipcli.session.ray.worker import (
    Worker,
    WorkerSpec,
    check_alike,
    describe,
    ref_tables,
    results_of,
    stats_of,
    this_folder,
)
from clipcli.session.session import Parallelism, Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.models.spec import Choice
    from clipcli.session.pipeline import Embedded
    from clipcli.session.prepare import SessionOptions
    from clipcli.session.ray.resources import ClusterSpec
    from clipcli.session.ray.worker import WorkerModel, WorkerStats

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOW_MEMORY = re.compile(r"low on memory|memory pressure|OutOfMemory")
AT_ONCE = 1 << 21
"""Most references per call of Ray Data, 0.3 GB; workers restart for the next call."""


@contextmanager
def start_muted() -> Iterator[None]:
    """Discard stderr while Ray's core starts; nothing else in this process prints meanwhile."""
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
def ray_messages(console: Console) -> Iterator[None]:
    """Redirect Ray's messages from stdout to the console; rows still go to stdout."""
    stdout = sys.stdout
    sys.stdout = _RayStdout(stdout, console)
    try:
        yield
    finally:
        sys.stdout = stdout


class _RayStdout:
    """A stdout that passes bytes through; text comes from Ray and goes to the console."""

    def __init__(self, stdout: IO[str], console: Console) -> None:
        self._stdout = stdout
        self._console = console
        self._incomplete_line = ""

    def write(self, text: str) -> int:
        """Print each completed line to the console."""
        *lines, self._incomplete_line = (self._incomplete_line + text).split("\n")
        for line in lines:
            if message := _COLOUR.sub("", line).strip():
                self._console.debug(message)
            if _LOW_MEMORY.search(line):
                self._console.info_once("a node ran low on memory, and Ray stopped a worker there; it is restarted")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


_CONNECT_SECONDS = 10.0
_OF_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _OF_SETTINGS + bytes(5)
"""The start of a gRPC connection: HTTP/2's preface and an empty SETTINGS frame. The response begins with one too."""
_PATIENCE_SECONDS = 30.0
"""Time without a free worker before a message is printed."""
_TRIES = 100
"""Retries of a task whose worker dies: an image may kill each worker that opens it. A few are not enough, since tries
are also used up before Ray notices that a node is lost."""
_AHEAD = 2
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS": "0",  # otherwise some messages are held back until the process ends
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # for a local cluster: run at normal priority
}
"""No usage statistics; messages of Ray's own processes stay in their log files."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to."""

    ray: Any
    spec: ClusterSpec
    console: Console

    def plan(self, device: str) -> WorkerPool:
        """Divide the nodes among workers.

        Raises:
            ClusterError: the cluster has no room.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        pool = plan_pool([Node(have.get("CPU", 0.0), have.get("GPU", 0.0)) for have in nodes], self.spec, device)
        gpus = f" and {pool.gpus:g} GPUs" if pool.gpus else ""
        self.console.debug(f"nodes: {len(nodes)}; workers: {pool.workers}, of {pool.cpus} cores{gpus} each")
        if pool.room < pool.workers:
            self.console.info(f"the cluster has room for {pool.room} of {pool.workers} workers now")
        return pool

    def describe(self, worker_spec: WorkerSpec, pool: WorkerPool) -> WorkerModel:
        """Return the description of the model, computed on a node that can run it.

        Raises:
            ModelError: the model cannot be used there.
            ClusterError: the node cannot run clipcli.
        """
        remote = self.ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, max_retries=_TRIES)(describe)
        with _cluster_errors(self.ray):
            result = remote.remote(worker_spec)
            if not self.ray.wait([result], timeout=_PATIENCE_SECONDS)[0]:
                self.console.info("waiting for the first worker: a free place in the cluster, or the model")
            model: WorkerModel = self.ray.get(result)
            return model

    def run(
        self, tables: Sequence[Any], worker_spec: WorkerSpec, expected: WorkerModel, pool: WorkerPool
    ) -> Iterator[Any]:
        """Yield tables of results for tables of references, in order.

        Raises:
            ClipcliError: a worker failed, or workers keep dying.
        """
        with _cluster_errors(self.ray):
            if not self.spec.is_client:
                yield from _stream(tables, worker_spec, expected, pool)
                return
            # Ray Data does not run behind Ray Client, so an actor of the cluster drives it.
            relay = self.ray.remote(num_cpus=0)(_Relay).remote(tables, worker_spec, expected, pool)
            waiting = [relay.next.remote() for _ in range(_AHEAD)]
            while (table := self.ray.get(waiting.pop(0))) is not None:
                waiting.append(relay.next.remote())
                yield table


class _Relay:
    """Returns results, one table per call."""

    def __init__(self, tables: Sequence[Any], worker_spec: WorkerSpec, expected: WorkerModel, pool: WorkerPool) -> None:
        self._stream = _stream(tables, worker_spec, expected, pool)

    def next(self) -> Any:
        """Return the next table; None after the last."""
        return next(self._stream, None)


def _stream(tables: Sequence[Any], worker_spec: WorkerSpec, expected: WorkerModel, pool: WorkerPool) -> Iterator[Any]:
    """Run Ray Data: it streams with back pressure and restarts dead workers."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the caller reports errors once
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    actors = ray.data.ActorPoolStrategy(min_size=1, max_size=pool.workers, initial_size=min(pool.workers, pool.room))
    dataset = ray.data.from_blocks(list(tables))
    # Newer versions of Ray lack this argument and retry a task forever.
    restart_options: dict[str, Any] = (
        {"ray_remote_args_fn": _restart_options} if _has_parameter(dataset, "ray_remote_args_fn") else {}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = dataset.map_batches(
            Worker,
            fn_constructor_args=(worker_spec, expected, _restarts),
            batch_size=None,
            batch_format="pyarrow",
            compute=actors,
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            **restart_options,
        )
    yield from results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=_AHEAD)


def _has_parameter(dataset: Any, name: str) -> bool:
    return name in inspect.signature(dataset.map_batches).parameters


def _restart_options() -> dict[str, int]:
    """Return Ray's options for a worker: always restart it, but retry its task a limited number of times."""
    return {"max_restarts": -1, "max_task_retries": _TRIES}


def _restarts() -> str:
    """Return node and process of this worker if it replaces a dead one, else an empty text."""
    ray = _ray()
    if not ray.get_runtime_context().was_current_actor_reconstructed:
        return ""
    return f"on {ray.util.get_node_ip_address()}, process {os.getpid()}"


@contextmanager
def connect(spec: ClusterSpec, console: Console) -> Iterator[Cluster]:
    """Connect to the cluster, or start a local one.

    Raises:
        UsageError: ray is not installed.
        ClusterError: there is no cluster at the address.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    ray = _ray()
    address = "local" if spec.is_local else spec.address
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if spec.is_local:
        settings["include_dashboard"] = False
        console.info("starting a Ray cluster on this machine")
    elif spec.endpoint is not None:
        _check_endpoint(spec.address, spec.endpoint)
    try:
        with start_muted():
            ray.init(address=address, **settings)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _no_cluster(spec.address, error) from error
    with ray_messages(console):
        try:
            yield Cluster(ray, spec, console)
        finally:
            ray.shutdown()


def _ray() -> Any:
    require_packages("ray", "--ray", UsageError)
    import ray
    import ray.data

    return ray


def _check_endpoint(address: str, endpoint: tuple[str, int]) -> None:
    """Check that a gRPC server answers; at another port, such as the dashboard's, Ray would retry for ten minutes."""
    try:
        with socket.create_connection(endpoint, timeout=_CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "1":
                connection.sendall(_GREETING)
                if connection.makefile("rb").read(4)[3:] != _OF_SETTINGS:
                    raise ConnectionError("another service answers there (the head's port is usually 6379)")
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ClusterError:
    reason = (getattr(error, "strerror", None) or str(error)).strip().partition("\n")[0].rstrip(".").lower()
    hint = "ray status shows a cluster's nodes; if it asks for a token, set RAY_AUTH_MODE=token"
    return ClusterError(f"no Ray cluster at {address}: {reason}", hint=hint)


@contextmanager
def _cluster_errors(ray: Any) -> Iterator[None]:
    """Re-raise a worker's own error; turn failures of the cluster into a ClusterError."""
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
            raise ClusterError(
                "clipcli is not installed on the cluster's nodes",
                hint="install the same version of clipcli on every node",
            ) from error
        deaths = (errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError, errors.ObjectLostError)
        if isinstance(error, deaths):
            raise ClusterError(
                "the cluster's workers keep dying, or the cluster is gone", hint="--resume continues the run"
            ) from error
        raise


@dataclass
class ClusterSession:
    """Embeds images on a cluster. Texts are embedded on this machine."""

    cluster: Cluster
    worker_spec: WorkerSpec
    pool: WorkerPool
    model: WorkerModel
    console: Console
    timings: Timings = field(default_factory=Timings)

    @property
    def provenance(self) -> Provenance:
        """Return everything besides the input that the vectors depend on, as the nodes report."""
        model, options = self.model, self.worker_spec.options
        return Provenance(model.info, model.scoring, model.precision, options.decoding, options.rendering.name)

    @property
    def parallelism(self) -> Parallelism:
        """Return the threads and models that work in parallel on all nodes."""
        models = min(self.pool.workers, self.pool.room)
        return Parallelism(models * (self.worker_spec.options.workers or 1), models)

    def embed_images(self, refs: Iterable[ImageRef]) -> Iterator[Embedded]:
        """Yield a vector or an error for each image, in the order given; the nodes read the images.

        Raises:
            ModelError: the model cannot be used on a node.
            ClusterError: the cluster is gone, or its workers keep dying.
        """
        stream = iter(refs)
        rows = self.pool.images_per_task(self.worker_spec.expected_images or AT_ONCE)
        while tables := ref_tables(stream, rows, -(-AT_ONCE // rows)):
            for result in self.cluster.run(tables, self.worker_spec, self.model, self.pool):
                for stats in stats_of(result):
                    self._note(stats)
                yield from results_of(result)

    def finish(self) -> None:
        """Do nothing: a cluster defers no work."""

    def _note(self, stats: WorkerStats) -> None:
        self.timings.count(encoded=stats.encoded, cached=stats.cached)
        self.timings.read += stats.read
        self.timings.decode += stats.decode
        self.timings.model += stats.model
        if stats.restarts:
            self.console.info_once(
                f"a worker died and was restarted ({stats.restarts}); its unfinished images are computed again "
                "(if memory ran out, use a smaller --batch-size, or fewer workers with --concurrency)"
            )


@contextmanager
def open_cluster(
    spec: ClusterSpec, choice: Choice, options: SessionOptions, console: Console, *, expected_images: int | None
) -> Iterator[ClusterSession]:
    """Yield a session on a cluster; disconnect at the end of the block, and stop a local cluster.

    Raises:
        UsageError: ray is not installed.
        ClusterError: there is no cluster at the address, or it has no room.
        ModelError: the model cannot be used on its nodes.
    """
    with connect(spec, console) as cluster:
        pool = cluster.plan(choice.device)
        options = options if options.workers else replace(options, workers=pool.cpus)
        if choice.device == "auto" and not pool.gpus:
            choice = replace(choice, device="cpu")  # the node may have a GPU that is not assigned to this worker
        worker_spec = WorkerSpec(choice, options, expected_images, this_folder())
        description = cluster.describe(worker_spec, pool)
        check_alike(description, replace(description, version=type(description).version))
        yield ClusterSession(cluster, worker_spec, pool, description, console)
