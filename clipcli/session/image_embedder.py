"""The interface that turns images into vectors, on this machine or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.core.encoder import ModelInfo, Precision, Scoring
    from clipcli.inputs.sources.refs import ImageRef
    from clipcli.session.pipeline import Embedded
    from clipcli.session.prepare import Timings


@dataclass(frozen=True)
class Provenance:
    """Everything besides the input that a vector depends on."""

    info: ModelInfo
    scoring: Scoring
    """The function from cosines to scores."""
    precision: Precision
    """The precision of the computation."""
    decoding: tuple[str, ...]
    """Non-default settings of decoding."""
    rendering: str
    """Name of the conversion to RGB."""


@dataclass(frozen=True)
class Parallelism:
    """The degree of parallelism, over all machines."""

    workers: int
    """Number of threads that read and decode."""
    models: int
    """Number of batches encoded at the same time."""


class ImageEmbedder(Protocol):
    """The interface of `clipcli.session.session.Session` and `clipcli.session.ray.ray_session.ClusterSession`."""

    @property
    def provenance(self) -> Provenance:
        """Return everything besides the input that the vectors depend on."""
        ...

    @property
    def timings(self) -> Timings:
        """Return the time spent so far, over all machines."""
        ...

    @property
    def parallelism(self) -> Parallelism:
        """Return the degree of parallelism."""
        ...

    def embed_images(self, refs: Iterable[ImageRef]) -> Iterator[Embedded]:
        """Yield a vector or an error for each image, in the order given."""
        ...

    def finish(self) -> None:
        """Do the work that was deferred until after the last row."""
        ...
