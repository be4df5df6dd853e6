"""Encode images as small JPEG data URIs, for self-contained pages."""

from __future__ import annotations

import base64
import io
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from PIL import Image

from clipcli import images
from clipcli.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.images import Rendering

THUMBNAIL_EDGE = 256
"""Pixels of the longer side: sharp at the size shown on a dense screen, about 10 kB each."""
_QUALITY = 80
_PAPER = (255, 255, 255)
"""The background of transparent pixels."""
_AHEAD = 4
"""Thumbnails per thread that are read ahead."""


def thumbnail(image: Image.Image, edge: int = THUMBNAIL_EDGE) -> str:
    """Return a JPEG data URI of an image of any mode, its longer side at most `edge` pixels.

    Transparency becomes white.
    """
    shrink = min(1.0, edge / max(image.size))
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA").resize(size, reducing_gap=2.0)
        small = Image.new("RGB", size, _PAPER)
        small.paste(rgba, mask=rgba.getchannel("A"))
    else:
        small = image.convert("RGB").resize(size, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def read_thumbnail(path: str, *, orient: bool = True, rendering: Rendering = images.ON_WHITE) -> str | None:
    """Return the data URI of a file, or None if it cannot be read."""
    draft = (2 * THUMBNAIL_EDGE, 2 * THUMBNAIL_EDGE)
    try:
        return thumbnail(images.decode(images.read(path), orient=orient, draft=draft, rendering=rendering))
    except (ImageError, OSError, ValueError):
        return None


def read_thumbnails(paths: Iterable[str], *, orient: bool = True) -> Iterator[str | None]:
    """Yield the data URI of each file, in order; as many threads read ahead as there are processors."""
    threads = os.cpu_count() or 1
    read_picture, waiting = partial(read_thumbnail, orient=orient), iter(paths)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(read_picture, path) for path in islice(waiting, _AHEAD * threads))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(read_picture, path) for path in islice(waiting, 1))
