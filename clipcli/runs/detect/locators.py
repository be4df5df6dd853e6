"""Two locators of boxes: a detection model, and a search over many windows with any other model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from clipcli.core.vectors import sigmoid
from clipcli.errors import ImageError
from clipcli.prompts import expand
from clipcli.session.session import embed_regions
from clipcli.tasks.classify import scores
from clipcli.tasks.detect import best_label_each, boxes_of_windows, every_label, propose_windows, whole_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from PIL.Image import Image

    from clipcli.core.console import Console
    from clipcli.core.vectors import Scores, Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.prompts import Label, PromptSet
    from clipcli.session.detector_session import DetectorSession
    from clipcli.session.session import Regions, Session
    from clipcli.tasks.detect import Answers

SessionT_contra = TypeVar("SessionT_contra", contravariant=True)
COARSE_THRESHOLD = 0.5
BACKGROUND = ("something", "a background", "a scene", "a texture", "a blurry picture", "an empty picture")
"""Texts for a window without any of the labels."""


@dataclass(frozen=True)
class Located:
    """The boxes of one upright image."""

    image: Image
    answers: Answers
    """Boxes in whole pixels, the best first."""


@dataclass(frozen=True)
class DetectionQuery:
    """The labels to find, and the conditions for boxes."""

    labels: Sequence[Label]
    prompts: PromptSet
    threshold: float | None
    """Least score of a box; None means the locator's default."""
    multi_label: bool = False
    """True if a box can have several labels."""


class Locator(Protocol[SessionT_contra]):
    """A way to find boxes."""

    def locate(
        self, session: SessionT_contra, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """Yield the boxes or the error of each image, in input order."""
        ...

    def model_of(self, session: SessionT_contra) -> str:
        """Return the name of the model."""
        ...


@dataclass(frozen=True)
class DetectorLocator:
    """Boxes of a detection model."""

    query: DetectionQuery

    def locate(
        self, session: DetectorSession, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """See `Locator`."""
        del console
        query = self.query
        session.read_labels([expand(label, query.prompts) for label in query.labels])
        default = session.model.detector.kind.default_threshold
        threshold = default if query.threshold is None else query.threshold
        choose = every_label if query.multi_label else best_label_each
        for ref, result in session.detect(refs):
            if isinstance(result, ImageError):
                yield ref, result
                continue
            chosen = choose(result.boxes, result.scores, threshold)
            yield ref, Located(result.image, whole_pixels(chosen, *result.image.size))

    def model_of(self, session: DetectorSession) -> str:
        """See `Locator`."""
        return session.model.name


@dataclass(frozen=True)
class CoarseLocator:
    """Boxes made from the windows with the best scores, with any OpenCLIP model."""

    query: DetectionQuery

    def locate(
        self, session: Session, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """See `Locator`."""
        console.info(
            "coarse boxes: they are where many windows that show a label overlap, and a model for classification knows "
            "nothing of edges; expect boxes that are too large or too small, or take a detection model: -m owlv2"
        )
        query = self.query
        texts = session.embed_labels(query.labels, query.prompts)
        nothing = session.embed_texts(BACKGROUND)
        for ref in refs:
            regions = embed_regions(session, ref, propose_windows)
            if isinstance(regions, ImageError):
                yield ref, regions
            else:
                probabilities = self._scores(session, regions.vectors, texts, nothing)
                yield ref, Located(regions.image, self._select_boxes(regions, probabilities))

    def model_of(self, session: Session) -> str:
        """See `Locator`."""
        return session.info.name

    def _scores(self, session: Session, windows: Vectors, texts: Vectors, nothing: Vectors) -> Scores:
        """Return (windows, labels): probability of each label against the others and the background, or by sigmoid."""
        scoring = session.scoring
        if scoring.activation == "sigmoid":
            return scores(windows @ texts.T, scoring)
        if self.query.multi_label:
            label_logits, background_logits = (
                windows @ each.T * np.float32(scoring.scale) for each in (texts, nothing)
            )
            return sigmoid(label_logits - np.logaddexp.reduce(background_logits, axis=1, keepdims=True))
        return scores(windows @ np.concatenate([texts, nothing]).T, scoring)[:, : len(texts)]

    def _select_boxes(self, regions: Regions, scores: Scores) -> Answers:
        query = self.query
        threshold = COARSE_THRESHOLD if query.threshold is None else query.threshold
        size = regions.image.size
        return boxes_of_windows(regions.boxes, scores, size, threshold, multi_label=query.multi_label)
