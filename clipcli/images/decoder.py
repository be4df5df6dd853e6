"""Bytes → a Pillow image: first frame, upright, within a limit of pixels; every bad file is an `ImageError`."""

from __future__ import annotations

import ctypes
import functools
import importlib
import io
import logging
import re
import threading
import warnings
from typing import TYPE_CHECKING, Final, TypeAlias

from PIL import ExifTags, Image, UnidentifiedImageError

from clipcli.errors import ImageError
from clipcli.images import messages, png, raw
from clipcli.images.colour_modes import BARE

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.images.colour_modes import Rendering

    JpegDecoder: TypeAlias = Callable[[bytes], Image.Image | None]
    """A whole file → its image as stored, perhaps shrunk; None for a file that it does not take."""


_FILTER = ("ignore", None, Warning, re.compile("PIL"), 0)


def silence_pillow() -> None:
    """Silence Pillow's warnings, its log and libtiff's own messages, for the whole process.

    Cheap enough to call before every image, and called so: whoever leaves a `warnings.catch_warnings` block puts the
    filters of its beginning back, in every thread, and may take ours away. A block of our own around each image would
    do the same to others.
    """
    if _FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module="PIL")
    _hush_once()


@functools.cache
def _hush_once() -> None:
    logger = logging.getLogger("PIL")
    logger.addHandler(logging.NullHandler())
    # Propagation ends here because a library that logs through the root logger gives it a handler to stderr.
    logger.propagate = False
    _hush_libtiff()


def _hush_libtiff() -> None:
    """Take away libtiff's error handler, which writes to file descriptor 2 past Python; Pillow raises all the same.

    Looking a symbol up in Pillow's extension module also searches the libraries it is linked to, so the very libtiff
    that Pillow uses is found wherever it lives. Redirecting the descriptor instead would swallow what other threads
    write meanwhile. Where the symbol is out of sight (libtiff linked statically, as in Pillow's wheels for Windows)
    libtiff keeps its voice and nothing else changes.
    """
    try:
        set_error_handler = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return
    set_error_handler.argtypes = [ctypes.c_void_p]
    set_error_handler.restype = ctypes.c_void_p
    set_error_handler(None)


DEFAULT_MAX_PIXELS: Final = 178_956_970
"""Where Pillow itself refuses an image by default: 0.7 GB as RGB."""

FORMATS: Final = (
    "AVIF", "BMP", "CUR", "DCX", "DDS", "DIB", "FLI", "GIF", "HEIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000", "JXL",
    "MPO", "MSP", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP", "XBM", "XPM",
)  # fmt: skip
"""What Pillow may open a file as: pictures. Its other formats are programs, scientific data and files of old games."""
_PLUGINS = threading.Lock()
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(
    data: bytes,
    *,
    orient: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    draft: tuple[int, int] | None = None,
    jpeg: JpegDecoder | None = None,
    rendering: Rendering | None = None,
) -> Image.Image:
    """Decode the first frame of any format that Pillow reads.

    Args:
        data: The whole file.
        orient: Turn the image as its EXIF orientation says. False leaves it as stored, which is what
            `Image.open(path)` hands to open_clip's transform. (Pillow itself turns TIFF, and libheif HEIC, either way.)
        max_pixels: An image of more is refused from its header, before memory is taken for it.
        draft: Let the JPEG decoder shrink by 2, 4 or 8 while it decodes, to no less than this width and height.
            Faster on large photos, and no longer open_clip's pixels: docs/images.md has figures.
        jpeg: Another decoder, which is asked first for JPEG files in grey or colour, and may decline.
        rendering: How the pixels become RGB. Without it the image keeps the file's own mode.

    Raises:
        ImageError: At stage `decode`, for every file that is not a whole image. Half of an image is not an image.
    """
    silence_pillow()
    if not data:
        raise ImageError("decode", "empty file")
    data = _picture(data, max_pixels)
    image = identify(data, max_pixels)
    elsewhere = jpeg(data) if jpeg and image.format == "JPEG" and image.mode in {"L", "RGB"} else None
    try:
        if draft is not None:
            image.draft(None, draft)
        if elsewhere is None:
            image.load()
        shown = (rendering or BARE).apply(elsewhere or image)
        return _upright(shown, image) if orient else shown
    except Exception as error:
        raise ImageError("decode", messages.failed(error, image.format)) from error


def _picture(data: bytes, max_pixels: int) -> bytes:
    """Return the part of a file that holds what is seen: without metadata, or a camera's preview. Raises ImageError."""
    kind = raw.kind_of(data)
    return png.without_metadata(data) if kind is None else raw.full_preview(data, kind, max_pixels)


def identify(data: bytes, max_pixels: int) -> Image.Image:
    """Read the header only."""
    data = _picture(data, max_pixels)
    _allow(max_pixels)
    try:
        image = _open(data)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("decode", messages.unidentified(data)) from error
    except Image.DecompressionBombError as error:
        count = int(next(iter(re.findall(r"\d+", str(error))), max_pixels + 1))
        raise ImageError("decode", messages.too_many_pixels(count, max_pixels)) from error
    except Exception as error:
        raise ImageError("decode", messages.failed(error, None)) from error
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError("decode", messages.too_many_pixels(width * height, max_pixels))
    if image.format == "PNG":
        png.complete_info(data, image)
    return image


def _open(data: bytes) -> Image.Image:
    """`Image.open` that gives the same answer from many threads.

    Pillow imports its rarer formats when it first meets a file it cannot place. A second thread that looks just then
    sees half of them, so "cannot identify" counts only once all are there.
    """
    with _PLUGINS:
        Image.preinit()
    try:
        return Image.open(io.BytesIO(data), formats=_known())
    except UnidentifiedImageError:
        with _PLUGINS:
            Image.init()
            if messages.is_heif(data) and not _register_heif():
                raise ImageError("decode", messages.needs_package("a HEIC image", "heic")) from None
            if messages.is_jpeg_xl(data) and not _register_jpeg_xl():
                raise ImageError("decode", messages.needs_package("a JPEG XL image", "jxl")) from None
        return Image.open(io.BytesIO(data), formats=_known())


def _known() -> list[str]:
    return [name for name in FORMATS if name in Image.OPEN]


@functools.cache
def _register_heif() -> bool:
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


@functools.cache
def _register_jpeg_xl() -> bool:
    try:
        importlib.import_module("pillow_jxl")
    except ImportError:
        return False
    return True


def _allow(max_pixels: int) -> None:
    """Move Pillow's own process-wide limit (it refuses above twice `MAX_IMAGE_PIXELS`) out of the way, upwards only."""
    own = Image.MAX_IMAGE_PIXELS
    if own is not None and max_pixels > 2 * own:
        Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)


def _upright(image: Image.Image, described: Image.Image) -> Image.Image:
    """Undo the camera's rotation. Metadata that cannot be read is no reason to lose a picture that can."""
    try:
        orientation = described.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - any parser error of any format's metadata; the pixels are whole
        return image
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)
