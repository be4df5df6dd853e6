"""What a run asks for vectors: a session on this machine, or a cluster behind the same face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.core.encoder import ModelInfo, Precision, Scoring
    from clipcli.core.vectors import Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.prompts import Label, PromptSet
    from clipcli.session.pipeline import Embedded
    from clipcli.session.prepare import Timings


class DescribedInputs(Protocol):
    """A model whose precision is known."""

    @property
    def precision(self) -> Precision:
        """The precision that its vectors come from."""
        ...


class Embedder(Protocol):
    """See `clipcli.session.session.Session`, which is one; `clipcli.session.ray.ClusterSession` is the other."""

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        ...

    @property
    def scoring(self) -> Scoring:
        """How its cosines are read."""
        ...

    @property
    def model(self) -> DescribedInputs:
        """The model itself."""
        ...

    @property
    def timings(self) -> Timings:
        """Where the time goes, on all machines together."""
        ...

    @property
    def decoding(self) -> tuple[str, ...]:
        """What makes the images' pixels other than usual."""
        ...

    @property
    def rendering(self) -> str:
        """How pixels of any mode became RGB, by name."""
        ...

    @property
    def workers(self) -> int:
        """Threads that read and decode, on all machines together."""
        ...

    @property
    def models(self) -> int:
        """Models at work at the same time."""
        ...

    def embed_images(self, refs: Iterable[ImageRef]) -> Iterator[Embedded]:
        """A vector or an error for each, in the order given."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """N texts → float32 (n, dim)."""
        ...

    def embed_labels(self, labels: Sequence[Label], prompts: PromptSet) -> Vectors:
        """N labels → float32 (n, dim), each the mean of its prompts."""
        ...

    def finish(self) -> None:
        """After the last row is out: what was put off."""
        ...
