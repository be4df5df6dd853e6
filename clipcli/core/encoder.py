"""The interface of every engine: two towers, their input format, and how their cosines become scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.vectors import Pixels, Vectors

Kind = Literal["tag", "hub", "folder", "checkpoint", "bundle"]


@dataclass(frozen=True)
class ModelSpec:
    """The name of a model, parsed."""

    kind: Kind
    name: str
    """The canonical spelling with absolute paths; parsing it from any folder gives this spec again."""
    where: str
    """The architecture (tag, checkpoint), the repository (hub) or the folder (folder, bundle)."""
    version: str = ""
    """The pretrained tag, the repository's revision, or the checkpoint's path."""


ResizeMode = Literal["shortest", "longest", "squash"]
Interpolation = Literal["bicubic", "bilinear"]
Activation = Literal["softmax", "sigmoid"]
Precision = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of the image tower; comes with the model."""

    image_size: tuple[int, int]
    """Height and width in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    resize_mode: ResizeMode = "shortest"
    fill_color: int = 0


@dataclass(frozen=True)
class ModelInfo:
    """A model as its config describes it; needs no weights."""

    name: str
    """The full spec that loads this model again, such as `ViT-B-32/laion2b_s34b_b79k`."""
    fingerprint: str
    """Twelve hex digits over everything that changes a vector: architecture, weights, preprocessing. Vectors can be
    compared only if their fingerprints are equal. The engine is not part of it (engines agree within 1e-5)."""
    dim: int
    """Length of an embedding."""
    preprocessing: Preprocessing
    context_length: int
    """Most tokens the text tower reads, start and end token included."""
    causal_text: bool
    """Whether shorter sequences give the same vectors (causal mask), so batches may be cut to their longest text."""


@dataclass(frozen=True)
class Scoring:
    """The function from cosines to scores: `activation(scale * cosine + bias)`; from the weights."""

    scale: float
    """exp(logit_scale)."""
    bias: float = 0.0
    activation: Activation = "softmax"
    """softmax over the labels for CLIP, an independent sigmoid per label for SigLIP models."""


class Encoder(Protocol):
    """A loaded model. It returns raw features; the session scales them to unit length."""

    @property
    def info(self) -> ModelInfo:
        """Return the model's description."""
        ...

    @property
    def scoring(self) -> Scoring:
        """Return the function from cosines to scores."""
        ...

    @property
    def device(self) -> str:
        """Return the device: `cpu`, `cuda:0`, `mps`."""
        ...

    @property
    def precision(self) -> Precision:
        """Return the precision of its weights and activations."""
        ...

    @property
    def image_lanes(self) -> int:
        """Return how many batches of images to encode in parallel threads; it may grow during a run."""
        ...

    @property
    def text_lanes(self) -> int:
        """Return how many batches of texts to encode in parallel threads."""
        ...

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Encode (n, 3, height, width) float32 normalised pixels as (n, dim) float32, not unit length."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts as (n, dim) float32, not unit length.

        Longer texts are cut at the context length; the end token is kept.
        """
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text before any cut, start and end token included."""
        ...


def require_several(texts: object, what: str) -> None:
    """Refuse a single string in place of a list of strings, since it would be read letter by letter.

    Raises:
        TypeError: `texts` is a string or bytes.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"{what} takes a list of texts, not one: [{texts!r}]")
