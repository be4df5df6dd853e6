"""A cluster behind the face of a session: references in, vectors in the order of the references out."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from clipcli.session.image_embedder import Parallelism, Provenance
from clipcli.session.prepare import Timings
from clipcli.session.ray.tables import asides_of, ref_tables, results_of
from clipcli.session.ray.worker import WorkerSpec, check_alike, this_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.models.choice import Choice
    from clipcli.session.pipeline import Embedded
    from clipcli.session.ray.cluster import Cluster
    from clipcli.session.ray.resources import ClusterSpec, WorkerPool
    from clipcli.session.ray.tables import WorkerStats
    from clipcli.session.ray.worker import WorkerModel
    from clipcli.session.session_options import SessionOptions

AT_ONCE = 1 << 21
"""References that are handed to Ray Data together: 0.3 GB of them. After so many the workers start anew."""


@dataclass
class ClusterSession:
    """Embeds images on a cluster. Texts are embedded on this machine: they take little."""

    cluster: Cluster
    order: WorkerSpec
    pool: WorkerPool
    model: WorkerModel
    console: Console
    timings: Timings = field(default_factory=Timings)

    @property
    def provenance(self) -> Provenance:
        """Return what the vectors depend on, as the nodes say."""
        model, options = self.model, self.order.options
        return Provenance(model.info, model.scoring, model.precision, options.decoding, options.rendering.name)

    @property
    def parallelism(self) -> Parallelism:
        """Threads and models at work at the same time, on all nodes."""
        models = min(self.pool.workers, self.pool.room)
        return Parallelism(models * (self.order.options.workers or 1), models)

    def embed_images(self, refs: Iterable[ImageRef]) -> Iterator[Embedded]:
        """As a session: a vector or a reason for each image in the order given; images are read by the nodes.

        Raises:
            ModelError: the model cannot be used there.
            ClusterError: the cluster went away, or its workers keep dying.
        """
        stream = iter(refs)
        rows = self.pool.images_a_task(self.order.expected_images or AT_ONCE)
        while tables := ref_tables(stream, rows, -(-AT_ONCE // rows)):
            for result in self.cluster.run(tables, self.order, self.model, self.pool):
                for aside in asides_of(result):
                    self._note(aside)
                yield from results_of(result)

    def finish(self) -> None:
        """Nothing is put off on a cluster."""

    def _note(self, aside: WorkerStats) -> None:
        self.timings.count(encoded=aside.encoded, cached=aside.cached)
        self.timings.read += aside.read
        self.timings.decode += aside.decode
        self.timings.model += aside.model
        if aside.restarts:
            self.console.info_once(
                f"a worker died and was started again ({aside.restarts}); what it had not handed over is computed "
                "again (if memory ran out: a smaller --batch-size, or fewer workers with --concurrency)"
            )


@contextmanager
def open_cluster(
    wishes: ClusterSpec, choice: Choice, options: SessionOptions, console: Console, *, expected_images: int | None
) -> Iterator[ClusterSession]:
    """A session on a cluster, which is let go of, or ended where it was started for this run, when the block ends.

    Raises:
        UsageError: ray is not installed.
        ClusterError: the cluster is not there, or has no room.
        ModelError: the model cannot be used on its nodes.
    """
    from clipcli.session.ray.cluster import connect

    with connect(wishes, console) as cluster:
        pool = cluster.plan(choice.device)
        options = options if options.workers else replace(options, workers=pool.cpus)
        if choice.device == "auto" and not pool.gpus:
            choice = replace(choice, device="cpu")  # a node may have a GPU that this worker was not given
        order = WorkerSpec(choice, options, expected_images, this_folder())
        description = cluster.describe(order, pool)
        check_alike(description, replace(description, version=type(description).version))
        yield ClusterSession(cluster, order, pool, description, console)
