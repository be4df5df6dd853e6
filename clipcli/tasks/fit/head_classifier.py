"""Classification by a few-shot head: calibrated scores, and what is none of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from clipcli.core.vectors import softmax, top_k
from clipcli.tasks.classify import LabelScore, Meaning, Prediction

if TYPE_CHECKING:
    from clipcli.core.vectors import Vector
    from clipcli.tasks.fit.few_shot_head import FewShotHead
    from clipcli.tasks.fit.novelty import Novelty


@dataclass(frozen=True)
class HeadClassifier:
    """A head, the names of its labels, and what is asked of it."""

    names: tuple[str, ...]
    head: FewShotHead
    novelty: Novelty
    none_name: str | None = None
    """The answer for a picture that is unlike those of all labels, or that reaches no threshold."""
    threshold: float | None = None
    """The lowest probability with which a label is given."""
    meaning: ClassVar[Meaning] = "softmax"
    multi_label: ClassVar[bool] = False

    def classify(self, image: Vector) -> Prediction:
        """Rank the labels for one image, (dim,), unit length.

        The similarity of a label is the cosine with the middle of its pictures, seen from the middle of all; what lies
        below the head's limit for all labels is none of them.
        """
        values = softmax(self.head.logits(image[None]))[0]
        likeness = self.novelty.likeness(image[None])[0]
        ranked = tuple(
            LabelScore(self.names[i], float(values[i]), float(likeness[i])) for i in top_k(values, len(values))
        )
        best = ranked[0]
        limit = self.novelty.limit
        is_strange = self.none_name is not None and limit is not None and float(np.max(likeness)) < limit
        passed = not is_strange and (self.threshold is None or best.score >= self.threshold)
        return Prediction(best.label if passed else self.none_name, best.score, ranked)
