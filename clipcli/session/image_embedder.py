"""What turns images into vectors: a session on this machine, or one on a cluster."""

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
    """Everything that a vector depends on beside its input."""

    info: ModelInfo
    scoring: Scoring
    """How cosines are read."""
    precision: Precision
    """The precision that the model computes in."""
    decoding: tuple[str, ...]
    """What makes the images' pixels other than usual."""
    rendering: str
    """How pixels of any mode became RGB, by name."""


@dataclass(frozen=True)
class Parallelism:
    """How much works side by side, on all machines together."""

    workers: int
    """Threads that read and decode."""
    models: int
    """Models at work at the same time."""


class ImageEmbedder(Protocol):
    """`clipcli.session.session.Session` is one, `clipcli.session.ray.ray_session.ClusterSession` is the other."""

    @property
    def provenance(self) -> Provenance:
        """Return what the vectors depend on."""
        ...

    @property
    def timings(self) -> Timings:
        """Return where the time went so far, on all machines together."""
        ...

    @property
    def parallelism(self) -> Parallelism:
        """Return how much works side by side."""
        ...

    def embed_images(self, refs: Iterable[ImageRef]) -> Iterator[Embedded]:
        """Yield a vector or an error for each image, in the order given."""
        ...

    def finish(self) -> None:
        """Do what was put off until the last row is out."""
        ...
