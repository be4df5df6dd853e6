"""Which cluster, and how many workers of which size: decided from plain numbers, so that tests need no cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCAL = "local"
"""A cluster that is started on this machine for the run."""
_CLIENT = "ray://"
_MOST_CORES = 16
"""Cores a worker: more readers than this do not make one model faster."""
_CPU_TASK, _GPU_TASK = 64, 2048
"""Images a task: some seconds of work, and what a dying worker costs at most."""
_TASKS_A_WORKER = 4
"""At least so many where there are few images, that no worker waits for another at the end."""


@dataclass(frozen=True)
class ClusterSpec:
    """What the user asked of the cluster."""

    address: str
    """`local`, `auto`, `HOST:PORT` or `ray://HOST:PORT`."""
    gpus_per_worker: float | None = None
    """None takes one GPU a worker where there are any."""
    concurrency: int | None = None
    """Workers at most; None takes as many as there is room for."""

    @property
    def is_local(self) -> bool:
        """Return whether the cluster lives as long as the run."""
        return self.address == LOCAL

    @property
    def is_client(self) -> bool:
        """Return whether this process stays outside of the cluster and speaks to its Ray Client server."""
        return self.address.startswith(_CLIENT)

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Host and port, where the address names them."""
        host, colon, port = self.address.removeprefix(_CLIENT).rpartition(":")
        return (host.strip("[]"), int(port)) if colon else None


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster offers."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class WorkerPool:
    """The workers of a run."""

    workers: int
    room: int
    """How many the nodes have room for at the same time."""
    cpus: int
    """Cores each, for reading and decoding, and for the model where it has no GPU."""
    gpus: float

    def images_a_task(self, images: int) -> int:
        """Return how many images are handed out together when so many are expected."""
        most = _GPU_TASK if self.gpus else _CPU_TASK
        return max(1, min(most, -(-images // (_TASKS_A_WORKER * self.workers))))


def parse_wishes(address: str | None, gpus_per_worker: float | None, concurrency: int | None) -> ClusterSpec | None:
    """Return the options as one value; None for a run on this machine alone.

    Raises:
        UsageError: no such place, or options of a cluster without one.
    """
    if address is None:
        for name, value in (("--gpus-per-worker", gpus_per_worker), ("--concurrency", concurrency)):
            if value is not None:
                raise UsageError(f"{name} is for clusters", hint="--ray local, --ray auto or --ray ray://HOST:PORT")
        return None
    if address not in {LOCAL, "auto"} and not re.fullmatch(rf"({_CLIENT})?[^/\s]+:\d{{1,5}}", address):
        raise UsageError(
            f"not the address of a Ray cluster: {address!r}", hint="local, auto, HOST:PORT or ray://HOST:PORT"
        )
    return ClusterSpec(address, gpus_per_worker, concurrency)


def plan_pool(nodes: Sequence[Node], wishes: ClusterSpec, device: str) -> WorkerPool:
    """Share the nodes out: a worker a GPU where there are GPUs, else a worker a node, or as many as were asked for.

    Raises:
        ClusterError: GPUs are asked for and there are none, or there is no node to work on.
    """
    gpus = _gpus_a_worker(nodes, wishes, device)
    usable = [node for node in nodes if node.cpus >= 1 and node.gpus >= gpus]
    if not usable:
        what = f"a node with {gpus:g} GPU{'s' if gpus > 1 else ''}" if gpus else "a node with a core"
        raise ClusterError(f"the cluster has no {what[2:]}", hint="--gpus-per-worker 0 runs on its cores")
    if gpus:
        cpus = min(int(node.cpus // (node.gpus // gpus)) for node in usable)
    else:
        cpus = int(min(node.cpus for node in usable))
        if wishes.concurrency is not None:
            cpus = min(cpus, int(sum(node.cpus for node in usable) // wishes.concurrency))
    cpus = max(1, min(cpus, _MOST_CORES))
    room = sum(_places(node, cpus, gpus) for node in usable)
    return WorkerPool(wishes.concurrency or room, room, cpus, gpus)


def _gpus_a_worker(nodes: Sequence[Node], wishes: ClusterSpec, device: str) -> float:
    if wishes.gpus_per_worker is not None:
        return wishes.gpus_per_worker
    return 1.0 if device != "cpu" and any(node.gpus >= 1 for node in nodes) else 0.0


def _places(node: Node, cpus: int, gpus: float) -> int:
    by_cores = int(node.cpus // cpus)
    return min(by_cores, int(node.gpus // gpus)) if gpus else by_cores
