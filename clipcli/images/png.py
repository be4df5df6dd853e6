"""Remove metadata chunks from PNG files, so that large or damaged ones do not prevent decoding.

Pillow refuses a file whose text or colour profile exceeds its limits or has a wrong checksum. Viewers skip such a chunk
(PNG specification, 13.2 "Error handling"). This module removes it before Pillow reads the file.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MOST: Final = 1 << 20
"""Most unpacked bytes of a text or colour profile; Pillow's own limit, ten times what editors write."""
_TEXTS_KEPT: Final = 8
_ANIMATION: Final = {b"acTL": 8, b"fcTL": 26}
"""Lengths of the chunks of animations."""
_TEXTS: Final = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_ORIENTING: Final = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""First bytes of texts that may hold an orientation."""
_HEAD: Final = struct.Struct(">I4s")
_CRC: Final = 4
_ANCILLARY: Final = 0x20
_DEPTH, _COLOUR_TYPE = 24, 25
"""Offsets from the start of the file."""
_GREY, _RGB, _PALETTE = 0, 2, 3
_SAMPLES: Final = {_GREY: 1, _RGB: 3, _PALETTE: 1, 4: 2, 6: 4}
"""Bytes of a pixel of eight bits a sample, by colour type."""
_HEADER: Final = struct.Struct(">IIBBBBB")
_FED: Final = 1 << 16


def without_metadata(data: bytes) -> bytes:
    """Return the file without text, time and other chunks that its pixels do not need; `data` itself if it has none.

    Chunks with a correct checksum are kept for: transparency, animation, EXIF, and at most 1 MiB each of a colour
    profile and of texts that may hold an orientation.
    """
    if not data.startswith(SIGNATURE) or len(data) <= _COLOUR_TYPE:
        return data
    spans: list[tuple[int, int]] = []
    texts, is_animated = 0, False
    for start, end, kind in _chunks(data):
        keep = not kind[0] & _ANCILLARY or _is_of_use(data, start, end, kind)
        if kind in _TEXTS and keep:
            texts += 1
            keep = texts <= _TEXTS_KEPT
        is_animated |= keep and kind == b"acTL"
        if not keep or (kind in {b"fcTL", b"fdAT"} and not is_animated):
            continue
        begins = spans.pop()[0] if spans and spans[-1][1] == start else start
        spans.append((begins, end))
    if spans == [(len(SIGNATURE), len(data))]:
        return data
    view = memoryview(data)
    return b"".join((SIGNATURE, *(view[start:end] for start, end in spans)))


def complete_info(data: bytes, image: Image.Image) -> None:
    """Set `info["sample_depth"]` to the bits per sample, and scale the transparent colour to the decoded values.

    Pillow does not report the depth, and keeps the transparent colour as stored.
    """
    key, depth, colour_type = image.info.get("transparency"), data[_DEPTH], data[_COLOUR_TYPE]
    image.info["sample_depth"] = depth
    if colour_type == _GREY and isinstance(key, int) and depth in {2, 4}:
        image.info["transparency"] = key * 255 // (2**depth - 1)
    elif colour_type == _RGB and isinstance(key, tuple) and depth == 16:  # noqa: PLR2004
        image.info["transparency"] = tuple(number >> 8 for number in key)


def png_strips(data: bytes, pixels: int) -> Iterator[Image.Image] | None:
    """Yield the rows of a PNG file from the top, so that the whole picture is never in memory.

    Each strip becomes a small PNG file: the row above it, which its filters refer to, and its own filtered rows.

    Args:
        data: A file of one picture, as `without_metadata` returns it.
        pixels: Of a strip, at most.

    Returns:
        None for an interlaced file, one with other than eight bits a sample, and one that may say how it lies. The
        iterator raises zlib.error or ValueError for damaged data.
    """
    header = data[len(SIGNATURE) + _HEAD.size : len(SIGNATURE) + _HEAD.size + _HEADER.size]
    if not data.startswith(SIGNATURE) or len(header) < _HEADER.size:
        return None
    width, height, depth, colour_type, _, _, interlaced = _HEADER.unpack(header)
    if depth != 8 or interlaced or colour_type not in _SAMPLES or _may_be_turned(data):  # noqa: PLR2004
        return None
    return _decoded_strips(data, (width, height, colour_type), max(1, pixels // max(1, width)))


def _may_be_turned(data: bytes) -> bool:
    return any(kind in _TEXTS or kind == b"eXIf" for _, _, kind in _chunks(data))


def _decoded_strips(data: bytes, shape: tuple[int, int, int], rows: int) -> Iterator[Image.Image]:
    from PIL import Image

    width, height, colour_type = shape
    length = 1 + width * _SAMPLES[colour_type]
    colours = b"".join(data[start:end] for start, end, kind in _chunks(data) if kind in {b"PLTE", b"tRNS"})
    above, filtered, missing = b"", bytearray(), height
    for part in _unpacked(data):
        filtered += part
        while missing and len(filtered) >= length * min(rows, missing):
            count = min(rows, missing)
            whole = above + bytes(filtered[: length * count])
            del filtered[: length * count]
            extra = 1 if above else 0
            fields = _HEADER.pack(width, count + extra, 8, colour_type, 0, 0, 0)
            file = (
                SIGNATURE,
                _chunk(b"IHDR", fields),
                colours,
                _chunk(b"IDAT", zlib.compress(whole, 0)),
                _chunk(b"IEND"),
            )
            with Image.open(io.BytesIO(b"".join(file)), formats=("PNG",)) as strip:
                strip.load()
            missing -= count
            above = b"\0" + strip.crop((0, strip.height - 1, width, strip.height)).tobytes()
            info, strip = strip.info, strip.crop((0, extra, width, strip.height))
            strip.info = info
            yield strip
    if missing:
        raise ValueError("rows are missing")


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Yield the filtered rows of a file, in pieces of a few MB."""
    unpacker = zlib.decompressobj()
    view = memoryview(data)
    for start, end, kind in _chunks(data):
        if kind != b"IDAT":
            continue
        for place in range(start + _HEAD.size, end - _CRC, _FED):
            packed: bytes | memoryview = view[place : min(place + _FED, end - _CRC)]
            while packed:
                yield unpacker.decompress(packed, _MOST)
                packed = unpacker.unconsumed_tail


def _chunk(kind: bytes, body: bytes = b"") -> bytes:
    return _HEAD.pack(len(body), kind) + body + zlib.crc32(body, zlib.crc32(kind)).to_bytes(_CRC, "big")


def _chunks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield start, end and kind of each chunk; data after the last valid chunk is yielded as one more chunk."""
    start = len(SIGNATURE)
    while start + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + length + _CRC
        if end > len(data) or not kind.isalpha():
            break
        yield start, end, kind
        if kind == b"IEND":
            return
        start = end
    if start < len(data):
        yield start, len(data), b"IEND"


def _is_of_use(data: bytes, start: int, end: int, kind: bytes) -> bool:
    """Return whether an ancillary chunk is needed and intact."""
    if kind == b"fdAT":
        return True
    body = memoryview(data)[start + _HEAD.size : end - _CRC]
    if len(body) > _MOST or zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[end - _CRC : end], "big"):
        return False
    if kind in _ANIMATION:
        return len(body) == _ANIMATION[kind]
    if kind == b"tRNS":
        palette = data[_COLOUR_TYPE] == _PALETTE and 0 < len(body) <= 256  # noqa: PLR2004
        return palette or {_GREY: 2, _RGB: 6}.get(data[_COLOUR_TYPE]) == len(body)
    if kind in _TEXTS:
        return bytes(body[:32]).startswith(_ORIENTING) and (kind == b"tEXt" or _unpacks(kind, bytes(body)))
    return kind == b"eXIf" or (kind == b"iCCP" and _unpacks(kind, bytes(body)))


def _unpacks(kind: bytes, body: bytes) -> bool:
    """Return whether a text or profile, possibly compressed, is intact and within the limit."""
    value = body.partition(b"\0")[2]
    if kind == b"iTXt":
        if value[:1] == b"\0":
            return True
        method, packed = value[1:2], value[2:].split(b"\0", 2)[-1]
    else:
        method, packed = value[:1], value[1:]
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, _MOST)
    except zlib.error:
        return False
    return method == b"\0" and unpacker.eof
