"""Bytes → a small look at an image for comparing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import ExifTags

from clipcli.errors import ImageError
from clipcli.images import messages
from clipcli.images.colour_modes import ON_WHITE, WHITE, Rendering
from clipcli.images.decoder import DEFAULT_MAX_PIXELS, decode, identify
from clipcli.images.pages import DOCUMENTS, pages_of

if TYPE_CHECKING:
    from PIL import Image

COMPARED: Final = 640
"""What pictures are compared at."""
_VANISHES: Final = 55
"""Grey values by which what can be seen must differ from its ground."""
_DARK: Final = (64, 64, 64)
_MIDDLE: Final = 128
_OPAQUE: Final = 255
_FRAMES: Final = 12
"""Frames of an animation that are looked at, evenly spread over it."""
_PAGES: Final = 48
"""Pages of a document that are looked at; of one with more, not all is known."""


@dataclass(frozen=True)
class Glance:
    """What an image is, and a small picture of it."""

    width: int
    """Upright, in pixels."""
    height: int
    format: str
    """Pillow's name, in lower case."""
    frames: int
    """Pages of a document, frames of an animation; 1 for a picture, whatever previews and layers are beside it."""
    pictures: tuple[Image.Image, ...]
    """The picture, the pages, or a few frames of an animation; upright, with at least `least` pixels a side."""
    camera: bool = False
    """Whether its metadata says which camera took it, or how."""
    whole: bool = True
    """Whether every page was looked at; of an animation, a few frames stand for all."""


def glance(
    data: bytes,
    *,
    orient: bool = True,
    rendering: Rendering = ON_WHITE,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    least: int = COMPARED,
) -> Glance:
    """Look at an image in RGB (or, by a bare rendering, its own mode). Raises ImageError as `decode` does.

    JPEG decoders may shrink to no less than `least` pixels a side, two to eight times as fast.
    """
    image = decode(data, orient=orient, max_pixels=max_pixels, draft=(least, least), rendering=rendering)
    header = identify(data, max_pixels)
    width, height = header.size
    if (width > height) != (image.width > image.height) and width != height:
        width, height = height, width
    try:
        shown = pages_of(header)
        selected = _sample_pages(shown, header)
        pictures = tuple(rendering.apply(_page(header, page)) for page in selected) if len(shown) > 1 else (image,)
    except Exception as error:
        raise ImageError("decode", messages.failed(error, header.format)) from error
    whole = len(selected) == len(shown) or header.format not in DOCUMENTS
    return Glance(width, height, (header.format or "").lower(), len(shown), pictures, _by_camera(header), whole)


def laid_on(image: Image.Image, rendering: Rendering) -> Image.Image:
    """Return the picture in RGB, on another ground where what can be seen of it would vanish: white icons on white.

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
        raise ImageError("decode", messages.failed(error, image.format)) from error


def _by_camera(image: Image.Image) -> bool:
    try:
        exif = image.getexif()
        more = exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # noqa: BLE001 - any parser error of any format's metadata; the pixels are whole
        return False
    tags = (ExifTags.Base.Make, ExifTags.Base.Model), (ExifTags.Base.ExposureTime, ExifTags.Base.FNumber)
    return any(exif.get(tag) for tag in tags[0]) or any(more.get(tag) for tag in tags[1])


def _sample_pages(pages: list[int], image: Image.Image) -> list[int]:
    most = _PAGES if image.format in DOCUMENTS else _FRAMES
    if len(pages) <= most:
        return pages
    return [pages[index] for index in sorted({round(n * (len(pages) - 1) / (most - 1)) for n in range(most)})]


def _page(image: Image.Image, number: int) -> Image.Image:
    image.seek(number)
    return image.convert("RGBA") if image.mode in {"P", "PA"} else image.copy()
