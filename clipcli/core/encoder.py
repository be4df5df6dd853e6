"""What every engine is: two towers, and what must be known to feed them and to read their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.vectors import Pixels, Vectors


Kind = Literal["tag", "hub", "folder", "checkpoint", "bundle"]


@dataclass(frozen=True)
class ModelSpec:
    """A model as it was named."""

    kind: Kind
    name: str
    """The canonical spelling, paths absolute; parsing it gives this spec again, from any folder."""
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
    """How an image becomes the image tower's input; comes with the model, never from our constants."""

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
    """Twelve hex digits over everything that changes a vector: architecture, weights, preprocessing. Two vectors can be
    compared only when their fingerprints are equal. The engine is not part of it (engines agree within 1e-5)."""
    dim: int
    """Length of an embedding."""
    preprocessing: Preprocessing
    context_length: int
    """Tokens the text tower takes, start and end token included."""
    causal_text: bool
    """Whether shorter sequences give the same vectors (causal mask), so batches may be cut to their longest text."""


@dataclass(frozen=True)
class Scoring:
    """The head that turns cosines into scores: `activation(scale * cosine + bias)`; from the weights."""

    scale: float
    """exp(logit_scale)."""
    bias: float = 0.0
    activation: Activation = "softmax"
    """softmax over the labels for CLIP, an independent sigmoid a label for SigLIP-type models."""


class Encoder(Protocol):
    """A loaded model. Returns raw features; making them unit length is the session's business."""

    @property
    def info(self) -> ModelInfo:
        """Return what the model is."""
        ...

    @property
    def scoring(self) -> Scoring:
        """Return how its cosines are read."""
        ...

    @property
    def device(self) -> str:
        """Return where it runs: `cpu`, `cuda:0`, `mps`."""
        ...

    @property
    def precision(self) -> Precision:
        """Return the precision of its weights and activations."""
        ...

    @property
    def image_lanes(self) -> int:
        """Batches of images that are best encoded side by side, from as many threads; may grow while it works."""
        ...

    @property
    def text_lanes(self) -> int:
        """Batches of texts that are best encoded side by side."""
        ...

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Float32 (n, 3, height, width), normalised → float32 (n, dim), not unit length."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts → float32 (n, dim), not unit length.

        Longer texts are cut at the context length, end token kept.
        """
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before any cut, start and end token included."""
        ...
