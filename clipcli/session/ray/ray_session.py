"""A cluster behind the interface of a session: references in, vectors in the same order out."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from clipcli.session.image_embedder import Parallelism, Provenance
from clipcli.session.prepare import Timings
from clipcli.session.ray.tables import ref_tables, results_of, stats_of
from clipcli.session.ray.worker import WorkerSpec, check_alike, this_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.models.spec import Choice
    from clipcli.session.pipeline import Embedded
    from clipcli.session.ray.cluster import Cluster
    from clipcli.session.ray.resources import ClusterSpec, WorkerPool
    from clipcli.session.ray.tables import WorkerStats
    from clipcli.session.ray.worker import WorkerModel
    from clipcli.session.session_options import SessionOptions

AT_ONCE = 1 << 21
"""Most references per call of Ray Data, 0.3 GB; workers restart for the next call."""


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
    from clipcli.session.ray.cluster import connect

    with connect(spec, console) as cluster:
        pool = cluster.plan(choice.device)
        options = options if options.workers else replace(options, workers=pool.cpus)
        if choice.device == "auto" and not pool.gpus:
            choice = replace(choice, device="cpu")  # the node may have a GPU that is not assigned to this worker
        worker_spec = WorkerSpec(choice, options, expected_images, this_folder())
        description = cluster.describe(worker_spec, pool)
        check_alike(description, replace(description, version=type(description).version))
        yield ClusterSession(cluster, worker_spec, pool, description, console)
