"""Recognise camera raw files by their content, and read the full preview that the camera embedded.

Pillow takes most of them for TIFF files and finds only the first thumbnail, at most a few hundred pixels wide. LibRaw
(through the optional package rawpy) finds the largest preview. If that is only a thumbnail, the raw data is developed.
"""

from __future__ import annotations

import importlib
import io
import struct
from typing import TYPE_CHECKING, Any, Final

from PIL import ExifTags, Image

from clipcli.errors import ImageError
from clipcli.images import messages

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC: Final = (
    (8, b"CR\x02", "CR2"),
    (4, b"ftypcrx ", "CR3"),
    (6, b"HEAPCCDR", "CRW"),
    (0, b"FUJIFILMCCD-RAW", "RAF"),
    (0, b"IIRO", "ORF"),
    (0, b"IIRS", "ORF"),
    (0, b"MMOR", "ORF"),
    (0, b"IIU\0", "RW2"),
    (0, b"FOVb", "X3F"),
    (0, b"\0MRM", "MRW"),
    (8, b"IIII", "IIQ"),
    (8, b"MMMM", "IIQ"),
)
"""Offset, magic bytes and name of formats that are not TIFF."""
_TIFF: Final = {b"II*\0": "<", b"MM\0*": ">"}
_MAKE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 271, 262, 330, 50706
_SENSOR_DATA: Final = frozenset((32803, 34892))
"""PhotometricInterpretation of raw pixels: a colour filter array, LinearRaw."""
_WIDTHS: Final = {1: "B", 2: "B", 3: "H", 4: "I", 13: "I"}
"""The TIFF types that are read."""
_MOST_IFDS, _MOST_TAGS, _MOST_VALUES = 32, 512, 32

_ENOUGH: Final = 1024
"""A preview with a side of this many pixels is large enough for any model."""
_ORIENTATIONS: Final = {3: 3, 5: 8, 6: 6}
"""LibRaw's rotation → EXIF orientation."""
_QUALITY: Final = 95


def kind_of(data: bytes) -> str | None:
    """Return the kind of a camera raw file in one word (`DNG`, `CR2`, a camera's maker); None for other files."""
    for start, magic, name in _MAGIC:
        if data.startswith(magic, start):
            return name
    order = _TIFF.get(data[:4])
    return None if order is None else _kind_of_tiff(data, order)


def full_preview(data: bytes, kind: str, max_pixels: int) -> bytes:
    """Return the picture of a camera raw file as a JPEG file, with its orientation.

    Raises:
        ImageError: at stage `decode`, LibRaw is not installed or cannot read the file, or the picture is too large.
    """
    try:
        rawpy: Any = importlib.import_module("rawpy")
    except ImportError:
        raise ImageError("decode", messages.needs_package(f"a camera raw file ({kind})", "raw")) from None
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height = raw.sizes.width, raw.sizes.height
            _require_at_most(max_pixels, width * height)
            jpeg = _embedded(rawpy, raw, min(_ENOUGH, max(width, height) // 2))
            return _turned(jpeg or _developed(raw, (width, height)), _ORIENTATIONS.get(raw.sizes.flip, 1))
    except rawpy.LibRawError as error:
        words = error.args[0] if error.args else error
        message = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
        raise ImageError("decode", f"a camera raw file ({kind}) that LibRaw cannot read: {message}") from error
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("decode", messages.failed(error, f"camera raw ({kind})")) from error


def _require_at_most(max_pixels: int, count: int) -> None:
    if count > max_pixels:
        raise ImageError("decode", messages.too_many_pixels(count, max_pixels))


def _embedded(rawpy: Any, raw: Any, min_side: int) -> bytes | None:
    """Return the largest preview as a JPEG file, if its longer side has at least `min_side` pixels."""
    try:
        preview = raw.extract_thumb()
        if preview.format == rawpy.ThumbFormat.JPEG:
            return preview.data if max(Image.open(io.BytesIO(preview.data)).size) >= min_side else None
        return _encoded(preview.data) if max(preview.data.shape[:2]) >= min_side else None
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError, OSError, AttributeError, TypeError):
        return None


def _developed(raw: Any, size: tuple[int, int]) -> bytes:
    """Return the developed raw data, with the camera's white balance; at half size, four times as fast, if enough."""
    half = min(size) >= 2 * _ENOUGH
    return _encoded(raw.postprocess(use_camera_wb=True, half_size=half, user_flip=0))


def _encoded(pixels: Any) -> bytes:
    """Encode (height, width, 3) uint8 pixels as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def _turned(jpeg: bytes, orientation: int) -> bytes:
    """Return the file with an orientation, unless it already has one."""
    existing_exif = Image.open(io.BytesIO(jpeg)).getexif()
    if orientation == 1 or ExifTags.Base.Orientation in existing_exif:
        return jpeg
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    block = exif.tobytes()
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def _kind_of_tiff(data: bytes, order: str) -> str | None:
    """Return the kind of a TIFF file with a DNG tag or an image of sensor data, often in a sub-IFD; else None."""
    queue = [_number(data, 4, order, "I")]
    visited: set[int] = set()
    make, holds_raw = "", False
    while queue and len(visited) < _MOST_IFDS:
        offset = queue.pop(0)
        if not offset or offset in visited:
            continue
        visited.add(offset)
        for tag, values in _tags(data, offset, order):
            if tag == _DNG_VERSION:
                return "DNG"
            if tag == _MAKE and not make:
                make = bytes(value for value in values if value).decode("ascii", "replace").split(" ")[0].title()
            elif tag == _PHOTOMETRIC:
                holds_raw |= values[:1] in [(number,) for number in _SENSOR_DATA]
            elif tag == _SUB_IFDS:
                queue += values
        queue.append(_next_ifd(data, offset, order))
    return (make or "raw") if holds_raw else None


def _tags(data: bytes, offset: int, order: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the needed tags of an IFD with their first values, if these are integers or text."""
    for number in range(min(_number(data, offset, order, "H"), _MOST_TAGS)):
        start = offset + 2 + 12 * number
        if start + 12 > len(data):
            return
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, start)
        letter = _WIDTHS.get(kind)
        if letter is None or tag not in {_MAKE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION}:
            continue
        layout = struct.Struct(f"{order}{min(count, _MOST_VALUES)}{letter}")
        inline = struct.calcsize(f"{order}{letter}") * count <= 4  # noqa: PLR2004 - bytes of an inline value
        position = start + 8 if inline else _number(data, start + 8, order, "I")
        if position + layout.size <= len(data):
            yield tag, layout.unpack_from(data, position)


def _next_ifd(data: bytes, offset: int, order: str) -> int:
    return _number(data, offset + 2 + 12 * _number(data, offset, order, "H"), order, "I")


def _number(data: bytes, start: int, order: str, letter: str) -> int:
    """Return an unsigned number of the file; 0 beyond its end."""
    layout = struct.Struct(order + letter)
    return int(layout.unpack_from(data, start)[0]) if 0 <= start <= len(data) - layout.size else 0
