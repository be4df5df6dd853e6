"""Choose the number and size of workers from plain numbers, so that tests need no cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCAL = "local"
"""The address of a cluster started on this machine for the run."""
_CLIENT = "ray://"
_MOST_CORES = 16
"""Most cores per worker; more threads that read do not make one model faster."""
_CPU_TASK, _GPU_TASK = 64, 2048
"""Images per task: some seconds of work, which is lost when a worker dies."""
_TASKS_A_WORKER = 4
"""Least number of tasks per worker, so that workers finish at about the same time."""


@dataclass(frozen=True)
class ClusterSpec:
    """The cluster that the user requested."""

    address: str
    """`local`, `auto`, `HOST:PORT` or `ray://HOST:PORT`."""
    gpus_per_worker: float | None = None
    """GPUs per worker; None takes one if there are GPUs."""
    concurrency: int | None = None
    """Most workers; None takes as many as fit."""

    @property
    def is_local(self) -> bool:
        """Return whether the cluster is started for this run only."""
        return self.address == LOCAL

    @property
    def is_client(self) -> bool:
        """Return whether this process connects through a Ray Client server."""
        return self.address.startswith(_CLIENT)

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Return host and port of the address, or None."""
        host, colon, port = self.address.removeprefix(_CLIENT).rpartition(":")
        return (host.strip("[]"), int(port)) if colon else None


@dataclass(frozen=True)
class Node:
    """The resources of one node of the cluster."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class WorkerPool:
    """The workers of a run."""

    workers: int
    room: int
    """Number of workers that fit on the nodes at the same time."""
    cpus: int
    """Cores per worker, for reading and decoding, and for the model if it has no GPU."""
    gpus: float

    def images_per_task(self, images: int) -> int:
        """Return the number of images per task for the expected number of images."""
        limit = _GPU_TASK if self.gpus else _CPU_TASK
        return max(1, min(limit, -(-images // (_TASKS_A_WORKER * self.workers))))


def parse_cluster_spec(
    address: str | None, gpus_per_worker: float | None, concurrency: int | None
) -> ClusterSpec | None:
    """Return the options of a cluster; None for a run on this machine.

    Raises:
        UsageError: an invalid address, or options of a cluster without an address.
    """
    if address is None:
        for name, value in (("--gpus-per-worker", gpus_per_worker), ("--concurrency", concurrency)):
            if value is not None:
                raise UsageError(f"{name} is for clusters", hint="add --ray local, --ray auto or --ray ray://HOST:PORT")
        return None
    if address not in {LOCAL, "auto"} and not re.fullmatch(rf"({_CLIENT})?[^/\s]+:\d{{1,5}}", address):
        raise UsageError(
            f"not the address of a Ray cluster: {address!r}", hint="use local, auto, HOST:PORT or ray://HOST:PORT"
        )
    return ClusterSpec(address, gpus_per_worker, concurrency)


def plan_pool(nodes: Sequence[Node], spec: ClusterSpec, device: str) -> WorkerPool:
    """Divide the nodes: one worker per GPU if there are GPUs, else one per node, or as many as requested.

    Raises:
        ClusterError: GPUs are requested and there are none, or no node is large enough.
    """
    gpus = _gpus_per_worker(nodes, spec, device)
    usable = [node for node in nodes if node.cpus >= 1 and node.gpus >= gpus]
    if not usable:
        missing = f"a node with {gpus:g} GPU{'s' if gpus > 1 else ''}" if gpus else "a node with a core"
        raise ClusterError(f"the cluster has no {missing[2:]}", hint="--gpus-per-worker 0 uses cores only")
    if gpus:
        cpus = min(int(node.cpus // (node.gpus // gpus)) for node in usable)
    else:
        cpus = int(min(node.cpus for node in usable))
        if spec.concurrency is not None:
            cpus = min(cpus, int(sum(node.cpus for node in usable) // spec.concurrency))
    cpus = max(1, min(cpus, _MOST_CORES))
    room = sum(_capacity(node, cpus, gpus) for node in usable)
    return WorkerPool(spec.concurrency or room, room, cpus, gpus)


def _gpus_per_worker(nodes: Sequence[Node], spec: ClusterSpec, device: str) -> float:
    if spec.gpus_per_worker is not None:
        return spec.gpus_per_worker
    return 1.0 if device != "cpu" and any(node.gpus >= 1 for node in nodes) else 0.0


def _capacity(node: Node, cpus: int, gpus: float) -> int:
    by_cores = int(node.cpus // cpus)
    return min(by_cores, int(node.gpus // gpus)) if gpus else by_cores
