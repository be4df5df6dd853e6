"""What a run asks for vectors: a session on this machine, or a cluster behind the same face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from clipcli.cluster.wishes import Wishes
    from clipcli.embedding.job import Embedding
    from clipcli.encoder import ModelInfo, Precision, Scoring
    from clipcli.inputs import ImageRef
    from clipcli.models import Choice
    from clipcli.pipeline import Embedded, Timings
    from clipcli.prompts import Label, PromptSet
    from clipcli.session_options import SessionOptions
    from clipcli.texts import TextRef
    from clipcli.vectors import Vectors


class Described(Protocol):
    """A model whose precision is known."""

    @property
    def precision(self) -> Precision:
        """The precision that its vectors come from."""
        ...


class Embedder(Protocol):
    """See `clipcli.session.Session`, which is one; `clipcli.cluster.ClusterSession` is the other."""

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        ...

    @property
    def scoring(self) -> Scoring:
        """How its cosines are read."""
        ...

    @property
    def model(self) -> Described:
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


def open_embedder(
    job: Embedding[ImageRef] | Embedding[TextRef], wishes: Wishes | None, choice: Choice, options: SessionOptions
) -> AbstractContextManager[Embedder]:
    """A session for a run's inputs: of this machine, or of the cluster that is wished for.

    Raises:
        UsageError: texts, on a cluster.
    """
    if wishes is None:
        return job.open_session(choice, options)
    if job.source.kind != "image":
        raise UsageError("a cluster embeds images; texts take little", hint="leave --on away")
    from clipcli.cluster.session import open_cluster

    return open_cluster(wishes, choice, options, job.report.talk, expected_images=job.source.expected_images)
