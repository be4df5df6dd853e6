"""Embed parts of images as unit vectors, which are not cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipcli import images
from clipcli.errors import ImageError
from clipcli.images.preprocess import to_pixels
from clipcli.session.features import fault_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from PIL.Image import Image

    from clipcli.core.vectors import Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.session.session import Session

    Propose = Callable[[int, int], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Regions:
    """Parts of one upright image."""

    image: Image
    boxes: npt.NDArray[np.int64]
    """(n, 4): x0, y0, x1, y1 in pixels."""
    vectors: Vectors
    """(n, dim), unit length."""


def embed_regions(session: Session, ref: ImageRef, propose: Propose) -> Regions | ImageError:
    """Read one image upright, crop the boxes of `propose(width, height)`, and embed each; errors are returned."""
    options = session.options
    limit = images.DEFAULT_MAX_PIXELS if options.max_pixels is None else options.max_pixels
    try:
        data = images.read_ref(ref)
        image = images.decode(data, orient=options.orient, max_pixels=limit, rendering=options.rendering)
        boxes = propose(*image.size)
        how = session.info.preprocessing
        pixels = np.stack([to_pixels(image.crop(tuple(box)), how) for box in boxes.tolist()])
    except ImageError as error:
        return error.bare()
    vectors = session.encode_pixels(pixels)
    fault = next(filter(None, map(fault_of, vectors)), None)
    return fault or Regions(image, boxes, vectors)
