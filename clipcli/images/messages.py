"""Messages for bad files, from Pillow's exceptions and the file's first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from clipcli.core.optional_packages import install_command

if TYPE_CHECKING:
    from clipcli.core.optional_packages import Extra

SVG: Final = "an SVG drawing; convert it to PNG first: pip install cairosvg; cairosvg drawing.svg -o drawing.png"
EPS_IS_A_PROGRAM: Final = "an EPS file is a program; convert it to an image first"
"""Pillow would run it with Ghostscript, without a time limit."""

VIDEO: Final = "a video, not an image; take frames from it first: ffmpeg -i video.mp4 -vf fps=1 frame-%04d.png"

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
    (b"pk\x03\x04", "a ZIP archive, not an image; unpack it first"),
    (b"\x1ae\xdf\xa3", VIDEO),  # Matroska and WebM, in lower case
)
_JPEG_XL: Final = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
"""First bytes of a bare codestream and of a container."""
_HEIF_BRANDS: Final = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"heif")
)
_AVIF_BRANDS: Final = frozenset((b"avif", b"avis"))
_VIDEO_BRANDS: Final = frozenset(
    (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"dash", b"3gp4")
)
"""Major brands of MP4 and QuickTime files."""
_CUT_SHORT: Final = ("truncat", "not enough image data", "not enough data", "unexpected end")
_LONGEST_DETAIL: Final = 120


def is_heif(data: bytes) -> bool:
    """Return whether the file is HEIC or HEIF, but not AVIF, which Pillow reads itself.

    The brands of ISO/IEC 23008-12 are in the `ftyp` box at the start of the file.
    """
    if data[4:8] != b"ftyp":
        return False
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[at : at + 4] for at in range(0, len(box), 4)}
    return not brands.isdisjoint(_HEIF_BRANDS) and brands.isdisjoint(_AVIF_BRANDS)


def is_jpeg_xl(data: bytes) -> bool:
    """Return whether the file is JPEG XL (ISO/IEC 18181-2)."""
    return data.startswith(_JPEG_XL)


def needs_package(kind: str, extra: Extra) -> str:
    """Return the message for a file, such as "a HEIC image", that needs an optional package."""
    return f"{kind}; reading it needs an optional package: {install_command(extra)}"


def unidentified(data: bytes) -> str:
    """Return the message for a file that no decoder accepts, with its real type if the first bytes show it."""
    is_mp4 = data[4:8] == b"ftyp" and data[8:12] in _VIDEO_BRANDS
    if is_mp4 or (data.startswith(b"RIFF") and data[8:12] == b"AVI "):
        return VIDEO
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<?xml", b"<!--")) and b"<svg" in start:
        start = b"<svg"
    return next(
        (words for beginning, words in _BEGINNINGS if start.startswith(beginning)),
        "not an image, or a format Pillow cannot read",
    )


def too_many_pixels(count: int, limit: int) -> str:
    """Return the message for an image above the limit of pixels, which protects from decompression bombs."""
    return f"{count:,} pixels, more than the limit of {limit:,}; --max-pixels raises it"


def failed(error: Exception, kind: str | None) -> str:
    """Return why decoding failed; `kind` is Pillow's name of the format, or None if it is unknown."""
    name = kind or "image"
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
