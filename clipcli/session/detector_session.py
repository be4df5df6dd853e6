"""The session of a detection model: references to images in, boxes with a score per label out, in input order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipcli.core.devices import usable_cores
from clipcli.errors import ImageError
from clipcli.images import read_ref
from clipcli.models.loader import load_detector_model
from clipcli.session.batches import BatchSize
from clipcli.session.prepare import SessionOptions, decode_upright
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

_BATCH_BY_DEVICE = {"cuda": 8, "mps": 4}
"""Images per batch without `--batch-size`; 1 on a CPU, where batches of pictures of a million pixels gain nothing."""


@dataclass(frozen=True)
class ProposedBoxes:
    """The boxes that a detection model proposes for one upright image."""

    image: Image.Image
    boxes: npt.NDArray[np.float64]
    """(n, 4): x0, y0, x1, y1 in pixels; they may reach beyond the image."""
    scores: Scores
    """(n, labels), from 0 to 1."""


@contextmanager
def open_detector_session(
    spec: ModelSpec, choice: Choice, console: Console, options: SessionOptions | None = None
) -> Iterator[DetectorSession]:
    """Open a session of a detection model. Raises ModelError as `load_detector_model`."""
    yield DetectorSession(load_detector_model(spec, choice, console), console, options or SessionOptions())


@dataclass
class DetectorSession:
    """A loaded detection model, and the options for reading images. Boxes are not cached."""

    model: OpenDetector
    console: Console
    options: SessionOptions = field(default_factory=SessionOptions)

    @cached_property
    def batches(self) -> BatchSize:
        """Return the number of images per pass of the model; it is halved when memory runs out."""
        chosen = self.options.batch_size or _BATCH_BY_DEVICE.get(self.model.device.partition(":")[0], 1)
        return BatchSize(chosen, "image", self.console.info)

    def read_labels(self, texts: Sequence[Sequence[str]]) -> None:
        """Set the labels to look for, each as one or more texts; warn of texts that the model cuts."""
        for text in self.model.detector.read_labels(texts):
            self.console.warning(f"{self.model.name} reads only the beginning of {text!r}")

    def detect(self, refs: Iterable[ImageRef]) -> Iterator[tuple[ImageRef, ProposedBoxes | ImageError]]:
        """Yield the boxes in each image, or the reason why it cannot be used, in input order.

        The next images of a list are decoded while the model works. Images of a stream are taken one by one.

        Raises:
            DeviceError: not even one image fits into memory.
        """
        ahead = 2 * self.batches.size if isinstance(refs, list) else 1
        batch: list[tuple[ImageRef, Image.Image | ImageError]] = []
        for item in self._decoded(refs, ahead):
            batch.append(item)
            if len(batch) >= min(self.batches.size, ahead):
                yield from self._results(batch)
                batch = []
        yield from self._results(batch)

    def finish(self) -> None:
        """Do nothing: no work is deferred."""

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
        try:
            return decode_upright(read_ref(ref), self.options).convert("RGB")
        except ImageError as error:
            return error.bare()

    def _results(
        self, batch: Sequence[tuple[ImageRef, Image.Image | ImageError]]
    ) -> Iterator[tuple[ImageRef, ProposedBoxes | ImageError]]:
        decoded = [image for _, image in batch if isinstance(image, Image.Image)]
        proposals = iter(self._propose(decoded))
        for ref, image in batch:
            yield ref, image if isinstance(image, ImageError) else self._in_pixels(image, next(proposals))

    def _propose(self, decoded: Sequence[Image.Image]) -> list[BoxProposals]:
        """Return the model's boxes for each image."""
        detect, device = self.model.detector.detect, self.model.device
        batches = self.batches.encode(len(decoded), lambda batch: detect(decoded[batch]), device)
        return [proposals for _, of_batch in batches for proposals in of_batch]

    def _in_pixels(self, image: Image.Image, proposals: BoxProposals) -> ProposedBoxes | ImageError:
        longer = self.model.detector.kind.box_unit == "longer_edge"
        unit = (max(image.size),) * 2 if longer else image.size
        if not (np.isfinite(proposals.boxes).all() and np.isfinite(proposals.scores).all()):
            return ImageError("encode", "the model gives it boxes that are not numbers")
        return ProposedBoxes(image, corners(proposals.boxes, unit), proposals.scores)
