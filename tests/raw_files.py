"""Camera raw files, made by us: a DNG with sensor data, previews of any size, and TIFF-like files of cameras."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}


def ifd(tags, offset, next_ifd=0):
    """An IFD at `offset` with its values behind it; tags are number → (type, bytes)."""
    head, tail = b"", b""
    start = offset + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        count = len(value) // _SIZES[kind]
        if len(value) <= 4:
            head += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        else:
            head += struct.pack("<HHII", tag, kind, count, start + len(tail))
            tail += value + b"\0" * (len(value) % 2)
    return struct.pack("<H", len(tags)) + head + struct.pack("<I", next_ifd) + tail


def short(*values):
    return 3, struct.pack(f"<{len(values)}H", *values)


def long(*values):
    return 4, struct.pack(f"<{len(values)}I", *values)


def words(text):
    return 2, text.encode() + b"\0"


def jpeg(size, colour):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def dng(preview=None, size=(128, 96), orientation=1, *, version=True, make="clipcli"):
    """A file of three pictures: a thumbnail in red, sensor data in grey, and a JPEG `preview` if there is one."""
    width, height = size
    mosaic = np.full((height, width), 9000, "<u2").tobytes()
    thumbnail = Image.new("RGB", (24, 16), "red").tobytes()
    pieces = [thumbnail, mosaic, preview or b""]
    places = [8]
    for piece in pieces:
        places.append(places[-1] + len(piece) + len(piece) % 2)
    body = b"".join(piece + b"\0" * (len(piece) % 2) for piece in pieces)
    raw_at = places[-1]
    one = (10, struct.pack("<18i", *(v for n in range(9) for v in (int(n % 4 == 0), 1))))
    raw = {254: long(0), 256: long(width), 257: long(height), 258: short(16), 259: short(1), 262: short(32803),
           273: long(places[1]), 277: short(1), 278: long(height), 279: long(len(mosaic)), 33421: short(2, 2),
           33422: (1, b"\0\1\1\2"), 50717: long(65535)}  # fmt: skip
    raw_ifd = ifd(raw, raw_at)
    sub, at = [raw_at], raw_at + len(raw_ifd)
    parts = [raw_ifd]
    if preview:
        pixels = Image.open(io.BytesIO(preview)).size
        shown = {254: long(1), 256: long(pixels[0]), 257: long(pixels[1]), 258: short(8, 8, 8), 259: short(7),
                 262: short(6), 273: long(places[2]), 277: short(3), 278: long(pixels[1]),
                 279: long(len(preview))}  # fmt: skip
        parts.append(ifd(shown, at))
        sub.append(at)
        at += len(parts[-1])
    main = {254: long(1), 256: long(24), 257: long(16), 258: short(8, 8, 8), 259: short(1), 262: short(2),
            271: words(make), 272: words("Test"), 273: long(places[0]), 274: short(orientation), 277: short(3),
            278: long(16), 279: long(len(thumbnail)), 330: long(*sub), 50708: words("clipcli Test"),
            50721: one, 50728: (5, struct.pack("<6I", 1, 1, 1, 1, 1, 1)), 50778: short(21)}  # fmt: skip
    if version:
        main[50706] = (1, b"\1\4\0\0")
    return struct.pack("<2sHI", b"II", 42, at) + body + b"".join(parts) + ifd(main, at)
