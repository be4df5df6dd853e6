"""Compute a digest of all pixels of a file, independent of its format; frames, pages, layers, alpha and depth count.

Pixels are hashed strip by strip, so that only the decoded picture is in memory.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING, Final

from PIL import ExifTags, Image

from clipcli.errors import ImageError
from clipcli.images import messages, raw
from clipcli.images.decoder import DEFAULT_MAX_PIXELS, UPRIGHT, count_pictures, identify
from clipcli.images.png import png_strips, without_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN: Final = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"))
"""Modes that convert to RGBA without loss, so that a palette image equals the same image in RGB."""
_STRIP: Final = 4_000_000
"""Number of pixels in a strip: 16 MB."""
_LARGE: Final = 8_000_000
"""Pixels from which a PNG file is decoded strip by strip."""
_EIGHT: Final = 8
_BITS_PER_SAMPLE: Final = 258
_GREY: Final = 0
"""The colour type of PNG files whose 16 bits Pillow keeps."""
_ONE_BOX: Final = 6
_HIGH_DEPTH: Final = 0x40
_T = Image.Transpose
_BY_ROWS: Final = {None: False, _T.FLIP_LEFT_RIGHT: False, _T.ROTATE_180: True, _T.FLIP_TOP_BOTTOM: True}
"""Rotations that keep rows as rows → whether the order of rows is reversed."""
_BY_COLUMNS: Final = {_T.TRANSPOSE: False, _T.ROTATE_270: False, _T.TRANSVERSE: True, _T.ROTATE_90: True}


def pixel_digest(data: bytes, *, orient: bool = True, max_pixels: int = DEFAULT_MAX_PIXELS) -> str:
    """Return the SHA-256 (hex) of all pixels, equal for the same picture in PNG and BMP, with and without metadata.

    If Pillow cannot give all bits of the pixels (camera raw, colours of more than 8 bits), the file itself is hashed.

    Raises:
        ImageError: at stage `decode`, the file is not a complete image.
    """
    image = identify(data, max_pixels)
    try:
        if raw.kind_of(data) is not None or _is_deeper(data, image):
            return hashlib.sha256(b"file" + data).hexdigest()
        if image.format == "PNG" and image.width * image.height > _LARGE:
            by_strips = _png_digest(data, image)
            if by_strips is not None:
                return by_strips
        digest = hashlib.sha256()
        sizes = sorted((getattr(image, "info", {}).get("sizes") or ()) if image.format in {"ICO", "ICNS"} else ())
        for frame in _icons(image, sizes) if len(sizes) > 1 else _frames(image, max_pixels):
            turn = _turn(frame) if orient else None
            plain = frame.mode in _PLAIN
            size = frame.size[::-1] if turn in _BY_COLUMNS else frame.size
            key = "" if plain else frame.info.get("transparency", "")
            digest.update(_head("RGBA" if plain else frame.mode, size, key))
            for strip in _strips(frame, turn):
                digest.update((strip.convert("RGBA") if plain else strip).tobytes())
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("decode", messages.failed(error, image.format)) from error
    return digest.hexdigest()


def _head(mode: str, size: tuple[int, ...], key: object) -> bytes:
    return f"{mode} {size} {key!r}".encode()


def _png_digest(data: bytes, image: Image.Image) -> str | None:
    """Return the digest of a large PNG file whose rows can be decoded one strip after another; else None."""
    if count_pictures(image) > 1 or image.mode not in _PLAIN:
        return None
    strips = png_strips(without_metadata(data), _STRIP)
    if strips is None:
        return None
    digest = hashlib.sha256(_head("RGBA", image.size, ""))
    try:
        for strip in strips:
            digest.update(strip.convert("RGBA").tobytes())
    except (ValueError, zlib.error, OSError, SyntaxError):
        return None  # as a whole it is refused with the reason
    return digest.hexdigest()


def _frames(image: Image.Image, max_pixels: int) -> Iterator[Image.Image]:
    """Yield all pictures of a file one by one, decoded into the same memory."""
    count = count_pictures(image)
    image.load()
    yield image
    layered = image.format == "PSD"  # layers are numbered from 1; the composite comes first
    for number in range(count, 0, -1) if layered else range(1, count):
        image.seek(number)
        if image.width * image.height > max_pixels:
            raise ImageError("decode", messages.too_many_pixels(image.width * image.height, max_pixels))
        image.load()
        yield image


def _icons(image: Image.Image, sizes: list[tuple[int, ...]]) -> Iterator[Image.Image]:
    """Yield an icon in each of its sizes."""
    for size in sizes:
        image.size = size  # type: ignore[misc,assignment]  # as Pillow documents for ICO and ICNS
        image.load()
        yield image


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - any error of a metadata parser; the pixels are good
        return None
    return UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _strips(image: Image.Image, turn: Image.Transpose | None) -> Iterator[Image.Image]:
    """Yield strips of the upright picture from top to bottom, without a second copy of it."""
    width, height = image.size
    columns = turn in _BY_COLUMNS
    backwards = turn is not None and (_BY_COLUMNS if columns else _BY_ROWS)[turn]
    along, across = (width, height) if columns else (height, width)
    step = max(1, _STRIP // max(1, across))
    for start in range(0, along, step):
        stop = min(start + step, along)
        low, high = (along - stop, along - start) if backwards else (start, stop)
        strip = image.crop((low, 0, high, height) if columns else (0, low, width, high))
        yield strip if turn is None else strip.transpose(turn)


def _is_deeper(data: bytes, image: Image.Image) -> bool:
    """Return whether the file has more than 8 bits per colour, of which Pillow keeps 8."""
    if image.mode.startswith(("I", "F")):
        return False
    match image.format:
        case "PNG":
            return data[24] > _EIGHT and data[25] != _GREY
        case "TIFF":
            bits = image.tag_v2.get(_BITS_PER_SAMPLE, (_EIGHT,))  # type: ignore[attr-defined]  # of a TIFF file
            return bool(max(bits if isinstance(bits, tuple) else (bits,)) > _EIGHT)
        case "JPEG2000":
            offset = data.find(b"\xff\x51")
            return offset >= 0 and (struct.unpack_from(">B", data, offset + 40)[0] & 0x7F) + 1 > _EIGHT
        case "AVIF" | "HEIF":
            offset = data.find(b"av1C")
            deep = offset >= 0 and len(data) > offset + _ONE_BOX and bool(data[offset + _ONE_BOX] & _HIGH_DEPTH)
            return deep or int(image.info.get("bit_depth", _EIGHT)) > _EIGHT
        case _:
            return False
