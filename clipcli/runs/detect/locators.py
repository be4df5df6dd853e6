"""The two ways to boxes: a detection model's own, and the best of many windows with any other model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from clipcli.core.vectors import sigmoid
from clipcli.errors import ImageError
from clipcli.prompts import expand
from clipcli.session.regions import embed_regions
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
    from clipcli.session.regions import Regions
    from clipcli.session.session import Session
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
class Wanted:
    """The labels to find, and the conditions for boxes."""

    labels: Sequence[Label]
    prompts: PromptSet
    threshold: float | None
    """None for that of the way."""
    multi_label: bool = False
    """True if a box can have several labels."""


class Locator(Protocol[SessionT_contra]):
    """One way."""

    def locate(
        self, session: SessionT_contra, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """Yield what is in each image, or why it cannot be used, in input order."""
        ...

    def model_of(self, session: SessionT_contra) -> str:
        """Return the name of the model."""
        ...


@dataclass(frozen=True)
class DetectorLocator:
    """A detection model's own boxes."""

    wanted: Wanted

    def locate(
        self, session: DetectorSession, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """See `Locator`."""
        del console
        wanted = self.wanted
        session.read_labels([expand(label, wanted.prompts) for label in wanted.labels])
        default = session.model.detector.kind.default_threshold
        threshold = default if wanted.threshold is None else wanted.threshold
        choose = every_label if wanted.multi_label else best_label_each
        for ref, said in session.detect(refs):
            if isinstance(said, ImageError):
                yield ref, said
                continue
            chosen = choose(said.boxes, said.scores, threshold)
            yield ref, Located(said.image, whole_pixels(chosen, *said.image.size))

    def model_of(self, session: DetectorSession) -> str:
        """See `Locator`."""
        return session.model.name


@dataclass(frozen=True)
class CoarseLocator:
    """The best of many windows, with any model."""

    wanted: Wanted

    def locate(
        self, session: Session, refs: Iterable[ImageRef], console: Console
    ) -> Iterator[tuple[ImageRef, Located | ImageError]]:
        """See `Locator`."""
        console.info(
            "coarse boxes: they are where many windows that show a label overlap, and a model for classification knows "
            "nothing of edges; expect boxes that are too large or too small, or take a detection model: -m owlv2"
        )
        wanted = self.wanted
        texts = session.embed_labels(wanted.labels, wanted.prompts)
        nothing = session.embed_texts(BACKGROUND)
        for ref in refs:
            found = embed_regions(session, ref, propose_windows)
            if isinstance(found, ImageError):
                yield ref, found
            else:
                probabilities = self._scores(session, found.vectors, texts, nothing)
                yield ref, Located(found.image, self._chosen(found, probabilities))

    def model_of(self, session: Session) -> str:
        """See `Locator`."""
        return session.info.name

    def _scores(self, session: Session, windows: Vectors, texts: Vectors, nothing: Vectors) -> Scores:
        """(windows, labels): probability of each label against the others and the background, or the model's own."""
        scoring = session.scoring
        if scoring.activation == "sigmoid":
            return scores(windows @ texts.T, scoring)
        if self.wanted.multi_label:
            own, others = (windows @ each.T * np.float32(scoring.scale) for each in (texts, nothing))
            return sigmoid(own - np.logaddexp.reduce(others, axis=1, keepdims=True))
        return scores(windows @ np.concatenate([texts, nothing]).T, scoring)[:, : len(texts)]

    def _chosen(self, found: Regions, scores: Scores) -> Answers:
        wanted = self.wanted
        threshold = COARSE_THRESHOLD if wanted.threshold is None else wanted.threshold
        size = found.image.size
        return boxes_of_windows(found.boxes, scores, size, threshold, multi_label=wanted.multi_label)
