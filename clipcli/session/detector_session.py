"""A detection model at work: references to images in, boxes with a score per label out, in input order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipcli import images
from clipcli.core.devices import usable_cores
from clipcli.errors import DeviceError, ImageError
from clipcli.models.loader import load_detector_model
from clipcli.session.session_options import SessionOptions
from clipcli.tasks.detect import corners

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from clipcli.core.console import Console
    from clipcli.core.encoder import ModelSpec
    from clipcli.core.vectors import Scores
    from clipcli.engines.detector import BoxProposals
    from clipcli.inputs.collect import ImageRef
    from clipcli.models.loader import OpenDetector
    from clipcli.models.spec import Choice

_IMAGES_AT_ONCE = {"cuda": 8, "mps": 4}
"""Where `--batch-size` says nothing. On a CPU pictures of a million pixels gain nothing from going together."""


@dataclass(frozen=True)
class ProposedBoxes:
    """What a detection model says of one upright image."""

    image: Image.Image
    boxes: npt.NDArray[np.float64]
    """(n, 4): x0, y0, x1, y1 in pixels, not yet cut to the image."""
    scores: Scores
    """(n, labels)."""


@contextmanager
def open_detector_session(
    spec: ModelSpec, choice: Choice, console: Console, options: SessionOptions | None = None
) -> Iterator[DetectorSession]:
    """Open a session of a detection model. Raises ModelError as `load_detector_model`."""
    yield DetectorSession(load_detector_model(spec, choice, console), console, options or SessionOptions())


@dataclass
class DetectorSession:
    """A loaded detection model, and how images are read for it. Boxes are not kept in the cache."""

    model: OpenDetector
    console: Console
    options: SessionOptions = field(default_factory=SessionOptions)

    @property
    def batch_size(self) -> int:
        """Return how many images go through the model together."""
        return self.options.batch_size or _IMAGES_AT_ONCE.get(self.model.device.partition(":")[0], 1)

    def read_labels(self, texts: Sequence[Sequence[str]]) -> None:
        """Take the labels to look for, each as one or more texts; a text that the model cuts is named."""
        for text in self.model.detector.read_labels(texts):
            self.console.warning(f"{self.model.name} reads only the beginning of {text!r}")

    def detect(self, refs: Iterable[ImageRef]) -> Iterator[tuple[ImageRef, ProposedBoxes | ImageError]]:
        """Yield what was found in each image, or why it cannot be used, in input order.

        The next images of a list are decoded while the model works; of a stream each is taken when it comes.

        Raises:
            DeviceError: not even one image fits into memory.
        """
        ahead = 2 * self.batch_size if isinstance(refs, list) else 1
        batch: list[tuple[ImageRef, Image.Image | ImageError]] = []
        for item in self._decoded(refs, ahead):
            batch.append(item)
            if len(batch) >= min(self.batch_size, ahead):
                yield from self._answers(batch)
                batch = []
        yield from self._answers(batch)

    def finish(self) -> None:
        """Nothing was put off."""

    def _decoded(self, refs: Iterable[ImageRef], ahead: int) -> Iterator[tuple[ImageRef, Image.Image | ImageError]]:
        waiting = iter(refs)
        workers = min(self.options.workers or usable_cores(), ahead)
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            coming = deque((ref, pool.submit(self._decode, ref)) for ref in islice(waiting, ahead))
            try:
                while coming:
                    ref, image = coming.popleft()
                    yield ref, image.result()
                    coming.extend((after, pool.submit(self._decode, after)) for after in islice(waiting, 1))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _decode(self, ref: ImageRef) -> Image.Image | ImageError:
        options = self.options
        limit = images.DEFAULT_MAX_PIXELS if options.max_pixels is None else options.max_pixels
        try:
            data = images.read_ref(ref)
            image = images.decode(data, orient=options.orient, max_pixels=limit, rendering=options.rendering)
            return image.convert("RGB")
        except ImageError as error:
            return error.bare()

    def _answers(
        self, batch: Sequence[tuple[ImageRef, Image.Image | ImageError]]
    ) -> Iterator[tuple[ImageRef, ProposedBoxes | ImageError]]:
        good = [image for _, image in batch if isinstance(image, Image.Image)]
        proposals = iter(self._propose(good) if good else [])
        for ref, image in batch:
            yield ref, image if isinstance(image, ImageError) else self._placed(image, next(proposals))

    def _propose(self, good: Sequence[Image.Image]) -> list[BoxProposals]:
        """Return what the model says; what does not fit into memory together goes in halves."""
        try:
            return self.model.detector.detect(good)
        except MemoryError as error:
            if len(good) == 1:
                raise DeviceError(f"one picture does not fit into memory: {error}", hint="--device cpu") from error
        half = len(good) // 2
        return [*self._propose(good[:half]), *self._propose(good[half:])]

    def _placed(self, image: Image.Image, said: BoxProposals) -> ProposedBoxes | ImageError:
        longer = self.model.detector.kind.box_unit == "longer_edge"
        unit = (max(image.size),) * 2 if longer else image.size
        if not (np.isfinite(said.boxes).all() and np.isfinite(said.scores).all()):
            return ImageError("encode", "the model gives it boxes that are not numbers")
        return ProposedBoxes(image, corners(said.boxes, unit), said.scores)
