"""Decode small pictures of a file for comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import ExifTags, Image

from clipcli.errors import ImageError
from clipcli.images import messages
from clipcli.images.colour_modes import ON_WHITE, WHITE, Rendering
from clipcli.images.decoder import DEFAULT_MAX_PIXELS, DOCUMENTS, decode, identify, pages_of

COMPARED: Final = 640
"""Side in pixels at which pictures are compared."""
_VANISHES: Final = 55
"""Least difference in grey values between a transparent picture and its background."""
_DARK: Final = (64, 64, 64)
_MIDDLE: Final = 128
_OPAQUE: Final = 255
_FRAMES: Final = 12
"""Most frames of an animation to decode, evenly spaced."""
_PAGES: Final = 48
"""Most pages of a document to decode."""


@dataclass(frozen=True)
class Glance:
    """The properties of an image and small pictures of it."""

    width: int
    """Width in pixels, upright."""
    height: int
    format: str
    """Pillow's name, in lower case."""
    frames: int
    """Number of pages of a document or frames of an animation; 1 for a picture with previews or layers."""
    pictures: tuple[Image.Image, ...]
    """The picture, the pages, or a few frames of an animation; upright, with at least `least` pixels a side."""
    camera: bool = False
    """Whether its metadata names a camera or an exposure."""
    whole: bool = True
    """Whether all pages were decoded; for an animation, a few frames are enough."""


def glance(
    data: bytes,
    *,
    orient: bool = True,
    rendering: Rendering = ON_WHITE,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    least: int = COMPARED,
) -> Glance:
    """Decode the pictures of an image in RGB, or in its own mode by a bare rendering. Raises ImageError as `decode`.

    The JPEG decoder may shrink to no less than `least` pixels per side, which is two to eight times as fast.
    """
    header = identify(data, max_pixels)
    width, height = header.size
    alone = header if header.format == "JPEG" else None  # one picture, whose header need not be read twice
    image = decode(data, orient=orient, max_pixels=max_pixels, draft=(least, least), rendering=rendering, opened=alone)
    if (width > height) != (image.width > image.height) and width != height:
        width, height = height, width
    try:
        pages = pages_of(header)
        selected = _sample_pages(pages, header)
        pictures = tuple(rendering.apply(_page(header, page)) for page in selected) if len(pages) > 1 else (image,)
    except Exception as error:
        raise ImageError("decode", messages.failed(error, header.format)) from error
    is_complete = len(selected) == len(pages) or header.format not in DOCUMENTS
    return Glance(width, height, (header.format or "").lower(), len(pages), pictures, _by_camera(header), is_complete)


def laid_on(image: Image.Image, rendering: Rendering) -> Image.Image:
    """Return the picture in RGB, on another background if it would be invisible, such as a white icon on white.

    Raises:
        ImageError: at stage `decode`, Pillow cannot convert the mode to RGB.
    """
    try:
        if not image.has_transparency_data:
            return (ON_WHITE if rendering.bare else rendering).apply(image)
        rgba = image.convert("LA" if image.mode == "La" else image.mode).convert("RGBA")
        light, alpha = (np.asarray(part, np.float32) for part in (rgba.convert("L"), rgba.getchannel("A")))
        mean_grey = float((light * alpha).sum() / max(1.0, float(alpha.sum())))
        red, green, blue = WHITE if rendering.bare else rendering.background
        ground = 0.299 * red + 0.587 * green + 0.114 * blue
        if alpha.min() < _OPAQUE and abs(mean_grey - ground) < _VANISHES:
            return Rendering(_DARK if ground > _MIDDLE else WHITE).apply(image)
        return Rendering((red, green, blue)).apply(image)
    except Exception as error:
        raise ImageError("decode", messages.failed(error, image.format)) from error


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """Return the picture with at most `side` pixels per side."""
    share = side / max(picture.size)
    if share >= 1:
        return picture
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _by_camera(image: Image.Image) -> bool:
    try:
        exif = image.getexif()
        exposure = exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # noqa: BLE001 - any error of a metadata parser; the pixels are good
        return False
    tags = (ExifTags.Base.Make, ExifTags.Base.Model), (ExifTags.Base.ExposureTime, ExifTags.Base.FNumber)
    return any(exif.get(tag) for tag in tags[0]) or any(exposure.get(tag) for tag in tags[1])


def _sample_pages(pages: list[int], image: Image.Image) -> list[int]:
    limit = _PAGES if image.format in DOCUMENTS else _FRAMES
    if len(pages) <= limit:
        return pages
    return [pages[index] for index in sorted({round(n * (len(pages) - 1) / (limit - 1)) for n in range(limit)})]


def _page(image: Image.Image, number: int) -> Image.Image:
    image.seek(number)
    return image.convert("RGBA") if image.mode in {"P", "PA"} else image.copy()
