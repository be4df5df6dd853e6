"""What Pillow raises about a bad file, and what its first bytes show, in words for the person whose file it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from clipcli.core.optional_packages import install_command

if TYPE_CHECKING:
    from clipcli.core.optional_packages import Extra

SVG: Final = "an SVG drawing; convert it to PNG first: pip install cairosvg; cairosvg drawing.svg -o drawing.png"
EPS_IS_A_PROGRAM: Final = "an EPS file is a program; convert it to an image first"
"""Pillow would run it, with Ghostscript, for as long as the program likes."""

_BEGINNINGS: Final = (
    (b"version https://git-lfs", "a Git LFS pointer, not an image: fetch the file itself with `git lfs pull`"),
    (b"%pdf-", "a PDF document, not an image"),
    (b"%!ps", EPS_IS_A_PROGRAM),
    (b"\xc5\xd0\xd3\xc6", EPS_IS_A_PROGRAM),
    (b"<!doctype html", "an HTML page, not an image (a download that failed?)"),
    (b"<html", "an HTML page, not an image (a download that failed?)"),
    (b"<svg", SVG),
    (b"<!doctype svg", SVG),
    (b"\x1f\x8b", "a gzip file (perhaps an SVGZ drawing), not an image"),
)
_JPEG_XL: Final = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
"""A bare codestream, and a container."""
_HEIF_BRANDS: Final = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"heif")
)
_AVIF_BRANDS: Final = frozenset((b"avif", b"avis"))
_CUT_SHORT: Final = ("truncat", "not enough image data", "not enough data", "unexpected end")
_LONGEST_DETAIL: Final = 120


def is_heif(data: bytes) -> bool:
    """Return whether the file says it is HEIC or HEIF, and not AVIF, which Pillow reads by itself.

    ISO/IEC 23008-12 keeps these names ("brands") in the `ftyp` box that the file starts with.
    """
    if data[4:8] != b"ftyp":
        return False
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[at : at + 4] for at in range(0, len(box), 4)}
    return not brands.isdisjoint(_HEIF_BRANDS) and brands.isdisjoint(_AVIF_BRANDS)


def is_jpeg_xl(data: bytes) -> bool:
    """Return whether the file says it is JPEG XL (ISO/IEC 18181-2)."""
    return data.startswith(_JPEG_XL)


def needs_package(kind: str, extra: Extra) -> str:
    """Return a file of a kind, such as "a HEIC image", that only an optional package reads."""
    return f"{kind}; reading it takes an optional package: {install_command(extra)}"


def unidentified(data: bytes) -> str:
    """Return why no decoder took the file: what it is instead, where its beginning shows that."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<?xml", b"<!--")) and b"<svg" in start:
        start = b"<svg"
    return next(
        (words for beginning, words in _BEGINNINGS if start.startswith(beginning)),
        "not an image, or a format Pillow cannot read",
    )


def too_many_pixels(count: int, limit: int) -> str:
    """Say that the file is larger than the limit that keeps decompression bombs out."""
    return f"{count:,} pixels, more than the limit of {limit:,}; --max-pixels raises it"


def failed(error: Exception, kind: str | None) -> str:
    """Return why decoding a file of a known format (`kind`, as Pillow calls it) failed."""
    name = kind or "image"  # "image file": damaged so early that its format has no name yet
    if isinstance(error, MemoryError):
        return "not enough memory for its pixels"
    detail = _one_line(error)
    lowered = detail.lower()
    if isinstance(error, EOFError) or any(words in lowered for words in _CUT_SHORT):
        return f"truncated: the {name} file ends before its image does"
    if "cannot find loader" in lowered:
        return f"a {name} file, which Pillow cannot read by itself"
    if isinstance(error, NotImplementedError) or "unsupported" in lowered:
        return f"a kind of {name} file that Pillow cannot read: {detail}"
    return f"damaged {name} file: {detail}"


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split())
    return words[:_LONGEST_DETAIL] if words else type(error).__name__
