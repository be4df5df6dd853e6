"""Compare two encoders of the same model. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipcli.core.vectors import unit_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.encoder import Encoder, ModelInfo, Precision
    from clipcli.core.vectors import Pixels, Vectors

LIMITS: dict[Precision, float] = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2}
"""Largest allowed difference of a component of two unit vectors, by the precision of the stored weights."""

TEXTS = (
    "",
    "dog",
    "a photo of a cat",
    "a photo of the small red car, parked in front of a house",
    "naïve café &amp; crème brûlée — 東京 🙂🚗",
    "a bad photo of one of the many large white birds that sit on the roof of the old barn near the lake at dawn",
    "word " * 200,
)
"""Short and long texts, other scripts, and a text longer than any context."""


@dataclass(frozen=True)
class Verification:
    """The largest differences between a bundle and its source."""

    images: float
    """Largest difference of a component, over the unit vectors of all probe images."""
    texts: float
    """The same for texts."""
    limit: float
    probes: int
    """Number of images and texts compared."""

    @property
    def ok(self) -> bool:
        """Return whether both are within the limit; False for NaN."""
        return self.images <= self.limit and self.texts <= self.limit


def compare(
    source: Encoder, bundle: Encoder, *, pixels: Sequence[Pixels] = (), texts: Sequence[str] = ()
) -> Verification:
    """Run both on noise, plain colours, gradients and texts of many lengths, singly and in batches.

    `pixels` are further batches of (n, 3, height, width), and `texts` further texts, preferably real ones.
    """
    batches = [*probe_images(source.info), *pixels]
    # Singly and together, to try batch sizes and text lengths that the export did not use.
    phrases = [[text] for text in (*TEXTS, *texts)] + [[*TEXTS, *texts]]
    images = [_apart(source.encode_images(batch), bundle.encode_images(batch)) for batch in batches]
    words = [_apart(source.encode_texts(batch), bundle.encode_texts(batch)) for batch in phrases]
    return Verification(
        images=float(np.max(images)),  # np.max keeps NaN, Python's max may not
        texts=float(np.max(words)),
        limit=LIMITS[bundle.precision],
        probes=sum(map(len, batches)) + len(TEXTS) + len(texts),
    )


def towers_not_finite(encoder: Encoder) -> list[str]:
    """Return the towers, "image" or "text", whose output for noise or texts is not finite."""
    vectors = {"image": encoder.encode_images(probe_images(encoder.info)[0]), "text": encoder.encode_texts(TEXTS)}
    return [tower for tower, output in vectors.items() if not np.isfinite(output).all()]


def probe_images(info: ModelInfo) -> list[Pixels]:
    """Return batches of 1, 2 and 4 normalised images: noise, plain black and white, a gradient along each axis."""
    height, width = info.preprocessing.image_size
    noise = np.random.default_rng(20260718).standard_normal((4, 3, height, width), dtype=np.float32)
    across = np.broadcast_to(np.linspace(-2, 2, width, dtype=np.float32), (3, height, width))
    down = np.broadcast_to(np.linspace(2, -2, height, dtype=np.float32)[:, None], (3, height, width))
    flat = np.ones((3, height, width), np.float32)
    return [noise[:1], np.stack([across, down]), np.stack([flat * -1.8, flat * 2.0, noise[2], noise[3]])]


def _apart(left: Vectors, right: Vectors) -> float:
    return float(np.abs(unit_length(left) - unit_length(right)).max())
