"""A few-shot head: weights on vectors, and for some methods the examples themselves. Numbers only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clipcli.core.vectors import Scores, Vector, Vectors


@dataclass(frozen=True)
class FewShotHead:
    """Logits of labels: `vector @ weights.T + bias`, and the votes of examples that are like the vector.

    An example votes with `exp(sharpness * (cosine - 1))`, the adapter of Zhang et al., "Tip-Adapter: Training-free
    Adaption of CLIP for Few-shot Classification", arXiv:2207.09519, section 3.2.
    """

    weights: Vectors
    """(labels, dim)."""
    bias: Vector
    """(labels,)."""
    examples: Vectors
    """(examples, dim), unit length; (0, dim) where nobody votes."""
    votes: Vectors
    """(examples, labels): what an example adds to each label's logit at cosine 1."""
    sharpness: float = 0.0
    """The decay of votes with distance; 0 or more."""
    neighbours: int = 0
    """The number of nearest examples that vote; 0 is all."""

    def logits(self, images: Vectors) -> Scores:
        """(images, dim), unit length → float32 (images, labels)."""
        values = images @ self.weights.T + self.bias
        if len(self.examples):
            values = values + self.affinity(images) @ self.votes
        return np.asarray(values, np.float32)

    def affinity(self, images: Vectors) -> Scores:
        """(images, examples): 1 for an example equal to the image, 0 for those that do not vote."""
        cosines = np.asarray(images @ self.examples.T, np.float32)
        fading = np.exp(np.float32(self.sharpness) * (cosines - np.float32(1)))
        if 0 < self.neighbours < cosines.shape[1]:
            nearest = np.partition(cosines, -self.neighbours, axis=1)[:, -self.neighbours, None]
            fading = np.where(cosines >= nearest, fading, np.float32(0))
        return np.asarray(fading, np.float32)

    def cooled(self, temperature: float) -> FewShotHead:
        """Return the head with its logits divided by a temperature."""
        share = np.float32(1.0 / temperature)
        return replace(self, weights=self.weights * share, bias=self.bias * share, votes=self.votes * share)
