"""Metadata, large or damaged, never costs the picture; and it never takes much memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from clipcli.images import decode
from clipcli.images.png import SIGNATURE, without_metadata

MIB = 1 << 20


def picture():
    values = np.arange(40 * 30 * 3, dtype=np.uint32).reshape(30, 40, 3) * 7 % 256
    return Image.fromarray(values.astype(np.uint8))


def saved(kind="PNG", image=None, **options):
    buffer = io.BytesIO()
    (image or picture()).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, body, crc=None):
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)
    )


def with_chunks(*chunks, data=None, behind=False):
    """A PNG with more chunks, before its pixels or behind them."""
    data = data or saved()
    start = data.index(b"IEND") - 4 if behind else 8 + 25
    return data[:start] + b"".join(chunks) + data[start:]


PROFILE = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(MIB - 9)))
EXIF = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # turned by 90 degrees
BIG = zlib.compress(b"clip " * MIB)
ODD = {
    "zTXt of 5 MB": chunk(b"zTXt", b"Comment\0\0" + BIG),
    "iTXt of 5 MB": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BIG),
    "tEXt of 5 MB": chunk(b"tEXt", b"Comment\0" + b"clip " * MIB),
    "XMP of 5 MB": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"clip " * MIB),
    "many texts": PROFILE * 80,
    "text with a wrong sum": chunk(b"tEXt", b"Comment\0hello", crc=1),
    "XMP with a wrong sum": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>", crc=1),
    "zTXt that is no zlib": chunk(b"zTXt", b"Comment\0\0hello"),
    "zTXt by another method": chunk(b"zTXt", b"Raw profile type exif\0\7" + zlib.compress(b"x")),
    "empty zTXt": chunk(b"zTXt", b""),
    "ICC of 5 MB": chunk(b"iCCP", b"profile\0\0" + BIG),
    "ICC with a wrong sum": chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"x"), crc=1),
    "ICC by another method": chunk(b"iCCP", b"profile\0\7" + zlib.compress(b"x")),
    "ICC that is no zlib": chunk(b"iCCP", b"profile\0\0hello"),
    "empty ICC": chunk(b"iCCP", b""),
    "tIME with a wrong sum": chunk(b"tIME", b"\7\xd0\1\1\0\0\0", crc=1),
    "tIME of two bytes": chunk(b"tIME", b"\7\xd0"),
    "pHYs of two bytes": chunk(b"pHYs", b"\7\xd0"),
    "gAMA of no bytes": chunk(b"gAMA", b""),
    "cHRM with a wrong sum": chunk(b"cHRM", bytes(32), crc=1),
    "sRGB of no bytes": chunk(b"sRGB", b""),
    "eXIf with a wrong sum": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0", crc=1),
    "eXIf of nonsense": chunk(b"eXIf", b"hello"),
    "tRNS of a wrong length": chunk(b"tRNS", b"\1"),
    "acTL of a wrong length": chunk(b"acTL", b"\1"),
    "a private chunk with a wrong sum": chunk(b"prVt", b"hello", crc=1),
}  # fmt: skip


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind the pixels"])
@pytest.mark.parametrize("name", ODD)
def test_a_png_keeps_its_pixels_whatever_is_said_beside_them(name, behind):
    np.testing.assert_array_equal(np.asarray(decode(with_chunks(ODD[name], behind=behind))), np.asarray(picture()))


def test_metadata_takes_no_memory():
    """A text of 64 MB, packed into 64 kB."""
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(64)) + packer.flush()
    data = with_chunks(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb), chunk(b"iCCP", b"p\0\0" + bomb))
    tracemalloc.start()
    decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB


def test_a_plain_file_is_not_copied():
    data = saved()
    assert without_metadata(data) is data
    assert without_metadata(b"GIF89a") == b"GIF89a"
    assert without_metadata(SIGNATURE) == SIGNATURE


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b'<x tiff:Orientation="6"/>')),
        chunk(b"eXIf", EXIF),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n26\n" + EXIF.hex().encode()),
    ],
    ids=["XMP", "packed XMP", "EXIF", "raw profile"],
)  # fmt: skip
def test_an_orientation_is_found_wherever_it_is_said(text):
    assert decode(with_chunks(text)).size == (30, 40)
    assert decode(with_chunks(text), orient=False).size == (40, 30)


def test_what_is_seen_is_kept():
    frames = [picture(), picture().rotate(180)]
    animation = saved(save_all=True, append_images=frames[1:], pnginfo=None)
    assert Image.open(io.BytesIO(without_metadata(with_chunks(ODD["zTXt of 5 MB"], data=animation)))).n_frames == 2
    palette = picture().quantize(8)
    transparent = saved(image=palette, transparency=3)
    assert "transparency" in decode(with_chunks(ODD["empty ICC"], data=transparent)).info
    profiled = saved(icc_profile=b"profile" * 100)
    assert decode(profiled).info["icc_profile"] == b"profile" * 100


def damaged(data, start, length):
    return data[:start] + bytes(255 - byte for byte in data[start : start + length]) + data[start + length :]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_other_formats_keep_their_pixels_too(kind):
    exif = Image.Exif()
    exif[0x010E] = "words " * 1000
    exif[0x0132] = "2026:11:28 10:00:00"
    profile = b"some colour profile " * 1000
    plain, full = decode(saved(kind)), saved(kind, exif=exif, icc_profile=profile)
    for words in (b"words words", b"some colour profile some", b"2026:11:28 10:00:00"):
        assert words in full
        broken = damaged(full, full.index(words), 19)
        np.testing.assert_array_equal(np.asarray(decode(broken)), np.asarray(plain))
