"""Decode bytes to a Pillow image: first frame, upright, within a limit of pixels. A bad file raises `ImageError`."""

from __future__ import annotations

import ctypes
import functools
import importlib
import io
import logging
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from PIL import ExifTags, Image, UnidentifiedImageError

from clipcli.core.devices import usable_cores
from clipcli.errors import ImageError
from clipcli.images import messages, png, raw
from clipcli.images.colour_modes import BARE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.images.colour_modes import Rendering

    JpegDecoder: TypeAlias = Callable[[bytes], Image.Image | None]
    """A whole file → its image as stored, perhaps shrunk; None for a file that it does not take."""


_FILTER = ("ignore", None, Warning, re.compile("PIL"), 0)


def silence_pillow() -> None:
    """Silence Pillow's warnings, its log and libtiff's messages, for the whole process.

    It is called before every image, because the end of any `warnings.catch_warnings` block restores older filters in
    all threads and may remove this one. A block around each image would do the same to other code.
    """
    if _FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module="PIL")
    _silence_once()


@functools.cache
def _silence_once() -> None:
    logger = logging.getLogger("PIL")
    logger.addHandler(logging.NullHandler())
    # No propagation: a library that logs through the root logger gives it a handler to stderr.
    logger.propagate = False
    _silence_libtiff()


def _silence_libtiff() -> None:
    """Remove libtiff's error handler, which writes to file descriptor 2 directly; Pillow still raises its exceptions.

    A symbol lookup in Pillow's extension module also searches its linked libraries, so it finds the libtiff that Pillow
    uses. Redirecting the descriptor instead would swallow the output of other threads. If libtiff is linked statically,
    as in Pillow's wheels for Windows, the symbol is not found and libtiff's messages remain.
    """
    try:
        set_error_handler = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return
    set_error_handler.argtypes = [ctypes.c_void_p]
    set_error_handler.restype = ctypes.c_void_p
    set_error_handler(None)


@functools.cache
def reuse_memory() -> None:
    """Let Pillow keep the memory of freed images for the next ones, once per process.

    Fresh memory costs a page fault every 4 kB, as much time as decoding a large JPEG. Pillow keeps none by default. One
    picture of 12 megapixels per core is kept, memory that was in use at the same time before. A number of blocks that
    the user has set (PILLOW_BLOCKS_MAX) stays.
    """
    memory: Any = importlib.import_module("PIL._imaging")
    if memory.get_blocks_max() == 0:
        memory.set_blocks_max(usable_cores() * _BLOCKS_PER_CORE)


_BLOCKS_PER_CORE: Final = 3
"""Blocks of 16 MB, Pillow's size: a picture of 12 megapixels takes three, at four bytes a pixel."""
DEFAULT_MAX_PIXELS: Final = 178_956_970
"""Pillow's own default limit: 0.7 GB as RGB."""

FORMATS: Final = (
    "AVIF", "BMP", "CUR", "DCX", "DDS", "DIB", "FLI", "GIF", "HEIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000", "JXL",
    "MPO", "MSP", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP", "XBM", "XPM",
)  # fmt: skip
"""Formats that Pillow may use. Its others are programs, scientific data and files of old games."""
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
    opened: Image.Image | None = None,
) -> Image.Image:
    """Decode the first frame of any format that Pillow reads.

    Args:
        data: the whole file.
        orient: rotate the image by its EXIF orientation. False keeps it as stored, as `Image.open(path)` does. (Pillow
            always rotates TIFF, and libheif HEIC.)
        max_pixels: refuse a larger image by its header, before memory is allocated.
        draft: let the JPEG decoder shrink by 2, 4 or 8, to no less than this width and height. It is faster on large
            photos, but the pixels differ from open_clip's: see docs/images.md.
        jpeg: another decoder to try first for JPEG files in grey or colour; it may decline.
        rendering: the conversion to RGB; None keeps the file's own mode.
        opened: the same file as `identify` opened it, which spares reading its header again; it is used up.

    Raises:
        ImageError: at stage `decode`, the file is not a complete image.
    """
    reuse_memory()
    if jpeg is not None and data:
        data = _picture(data, max_pixels)
    image = opened or identify(data, max_pixels)
    decoded = jpeg(data) if jpeg and image.format == "JPEG" and image.mode in {"L", "RGB"} else None
    try:
        if draft is not None:
            image.draft(None, draft)
        if decoded is None:
            image.load()
        rendered = (rendering or BARE).apply(decoded or image)
        return _upright(rendered, image) if orient else rendered
    except Exception as error:
        raise ImageError("decode", messages.failed(error, image.format)) from error


def _picture(data: bytes, max_pixels: int) -> bytes:
    """Return the picture in a file: a PNG without metadata, a camera's preview, or the file. Raises ImageError."""
    kind = raw.kind_of(data)
    return png.without_metadata(data) if kind is None else raw.full_preview(data, kind, max_pixels)


def quantization_steps(header: Image.Image) -> Sequence[int] | None:
    """Return the 64 quantisation steps of the first layer (brightness) of a JPEG file, by rows; None for others."""
    tables, layers = getattr(header, "quantization", None), getattr(header, "layer", None)
    return tables.get(layers[0][3]) if tables and layers else None


def identify(data: bytes, max_pixels: int) -> Image.Image:
    """Open an image and read only its header.

    Raises:
        ImageError: at stage `decode`, the file is not an image, is damaged, or has more than `max_pixels` pixels.
    """
    silence_pillow()
    if not data:
        raise ImageError("decode", "empty file")
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
    """Call `Image.open` in a thread-safe way.

    Pillow imports its rarer formats on the first file that it cannot identify. Meanwhile other threads see only some of
    them, so "cannot identify" is final only after all are imported.
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
    """Raise Pillow's process-wide limit if necessary; Pillow refuses images above twice `MAX_IMAGE_PIXELS`."""
    pillow_limit = Image.MAX_IMAGE_PIXELS
    if pillow_limit is not None and max_pixels > 2 * pillow_limit:
        Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)


def _upright(image: Image.Image, described: Image.Image) -> Image.Image:
    """Rotate an image by the EXIF orientation of `described`; leave it unchanged if the metadata is damaged."""
    try:
        orientation = described.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - any error of a metadata parser; the pixels are good
        return image
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


DOCUMENTS: Final = frozenset(("TIFF", "MPO", "DCX"))
"""Formats whose further pictures are pages; in other formats they are frames."""
_LAYERED_FORMATS: Final = frozenset(("PSD", "MIC"))
"""Formats whose further pictures are layers of the first."""
_SUBFILE_TAG: Final = 254
"""The TIFF tag NewSubfileType."""
_REDUCED_COPY: Final = 1


def count_pictures(image: Image.Image) -> int:
    """Return the number of pictures of any kind in a file. Raises Pillow's errors for a damaged file."""
    return max(1, int(getattr(image, "n_frames", 1)))


def pages_of(image: Image.Image) -> list[int]:
    """Return the numbers of the pages or frames that a viewer shows in sequence, at least one.

    Reduced copies of a TIFF page, a camera's previews and gain maps, and layers are left out. Raises Pillow's errors
    for a damaged file.
    """
    count = count_pictures(image)
    if count == 1 or image.format in _LAYERED_FORMATS:
        return [0]
    if image.format == "MPO":
        return _camera_views(image, count)
    if image.format != "TIFF":
        return list(range(count))
    pages = []
    for number in range(count):
        image.seek(number)
        kind = image.tag_v2.get(_SUBFILE_TAG, 0)  # type: ignore[attr-defined]  # of a TIFF file
        if not (isinstance(kind, int) and kind & _REDUCED_COPY):
            pages.append(number)
    image.seek(0)
    return pages or [0]


def _camera_views(image: Image.Image, count: int) -> list[int]:
    """Return the first picture and other views: the second of a stereo pair, a part of a panorama."""
    entries = (getattr(image, "mpinfo", None) or {}).get(0xB002) or []
    kinds = [str(entry.get("Attribute", {}).get("MPType", "")) for entry in entries]
    return [0, *(number for number, kind in enumerate(kinds[:count]) if number and kind.startswith("Multi-Frame"))]
