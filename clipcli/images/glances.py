"""Bytes → a small look at an image for comparing it, and a digest of its pixels that knows nothing of the container."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageSequence

from clipcli.errors import ImageError
from clipcli.images import raw, reasons
from clipcli.images.decoding import DEFAULT_MAX_PIXELS, decode
from clipcli.images.decoding import _identify as identify
from clipcli.images.rendering import ON_WHITE, WHITE, Rendering

_SMALL: Final = 640
"""JPEG decoders may shrink to no less than this: what pictures are compared at, two to six times as fast."""
_VANISHES: Final = 55
"""Grey values by which what can be seen must differ from its ground."""
_DARK: Final = (64, 64, 64)
_MIDDLE: Final = 128
_OPAQUE: Final = 255
_FRAMES: Final = 4
"""Frames of an animation that are looked at, evenly spread over it."""
_ANIMATED: Final = frozenset(("GIF", "WEBP", "PNG", "AVIF"))
"""Formats whose further frames are the picture. What else a file holds (previews, pages) is not."""
_PLAIN: Final = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"))
"""Modes whose colours are the same numbers as RGBA, so that a palette equals what it stands for."""


@dataclass(frozen=True)
class Glance:
    """What an image is, and a small picture of it."""

    width: int
    """Upright, in pixels."""
    height: int
    format: str
    """Pillow's name, in lower case."""
    frames: int
    pictures: tuple[Image.Image, ...]
    """The first frame, or a few of an animation; upright, at least 64 × 64 where the file is."""


def glance(
    data: bytes, *, orient: bool = True, rendering: Rendering = ON_WHITE, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Glance:
    """Look at an image in RGB (or, by a bare rendering, its own mode). Raises ImageError as `decode` does."""
    image = decode(data, orient=orient, max_pixels=max_pixels, draft=(_SMALL, _SMALL), rendering=rendering)
    header = identify(data, max_pixels)
    width, height = header.size
    if (width > height) != (image.width > image.height) and width != height:
        width, height = height, width
    frames, kind = _frame_count(header), (header.format or "").lower()
    pictures = tuple(map(rendering.apply, _spread(header, frames))) if frames > 1 else (image,)
    return Glance(width, height, kind, frames, pictures)


def pixel_digest(data: bytes, *, orient: bool = True, max_pixels: int = DEFAULT_MAX_PIXELS) -> str:
    """The sha256 (hex) of all pixels: equal for the same picture in PNG and BMP, with and without metadata.

    Raises:
        ImageError: at stage `decode`.
    """
    image = decode(data, orient=orient, max_pixels=max_pixels)
    if raw.kind_of(data) is not None:  # its preview is not all that it holds
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256()
    frames = _frame_count(image)
    try:
        for frame in ImageSequence.Iterator(image) if frames > 1 else (image,):
            plain = frame.convert("RGBA") if frame.mode in _PLAIN else frame
            digest.update(f"{plain.mode} {plain.size} ".encode("ascii"))
            digest.update(plain.tobytes())
    except Exception as error:
        raise ImageError("decode", reasons.failed(error, image.format)) from error
    return digest.hexdigest()


def laid_on(image: Image.Image, rendering: Rendering) -> Image.Image:
    """The picture in RGB, on another ground where what can be seen of it would vanish: white icons on white.

    Raises:
        ImageError: at stage `decode`, for a mode that Pillow cannot turn into RGB.
    """
    try:
        if not image.has_transparency_data:
            return (ON_WHITE if rendering.bare else rendering).apply(image)
        rgba = image.convert("LA" if image.mode == "La" else image.mode).convert("RGBA")
        light, alpha = (np.asarray(part, np.float32) for part in (rgba.convert("L"), rgba.getchannel("A")))
        seen = float((light * alpha).sum() / max(1.0, float(alpha.sum())))
        red, green, blue = WHITE if rendering.bare else rendering.background
        ground = 0.299 * red + 0.587 * green + 0.114 * blue
        if alpha.min() < _OPAQUE and abs(seen - ground) < _VANISHES:
            return Rendering(_DARK if ground > _MIDDLE else WHITE).apply(image)
        return Rendering((red, green, blue)).apply(image)
    except Exception as error:
        raise ImageError("decode", reasons.failed(error, image.format)) from error


def _frame_count(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1)) if image.format in _ANIMATED else 1


def _spread(image: Image.Image, frames: int) -> list[Image.Image]:
    try:
        pictures = []
        for number in sorted({round(step * (frames - 1) / (_FRAMES - 1)) for step in range(_FRAMES)}):
            image.seek(number)
            pictures.append(image.convert("RGBA"))
    except Exception as error:
        raise ImageError("decode", reasons.failed(error, image.format)) from error
    return pictures
