"""File name suffixes of images, shards and tables."""

from __future__ import annotations

import posixpath
import re

IMAGE_SUFFIXES = frozenset(
    [
        ".apng",
        ".avif",
        ".avifs",
        ".bmp",
        ".bw",
        ".cur",
        ".dcx",
        ".dds",
        ".dib",
        ".fli",
        ".flc",
        ".gif",
        ".heic",
        ".heif",
        ".icns",
        ".ico",
        ".im",
        ".j2c",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpf",
        ".jpg",
        ".jpx",
        ".jxl",
        ".msp",
        ".pbm",
        ".pcx",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".psd",
        ".qoi",
        ".rgb",
        ".rgba",
        ".sgi",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
        ".xbm",
        ".xpm",
    ]
)
"""Suffixes of the files that a search in folders takes. A file named as an argument is always tried."""
MAX_BYTES = 2 << 30
"""Limit of one image; larger files are disk images or videos, given by mistake."""
SHARDS = (".tar",)
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Compressed shards, which cannot be read in place."""
TABLES = (".parquet", ".pq")
TEXT_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
"""Text tables, which are read row by row."""

INSIDE = re.compile(r"(?P<outer>.+?\.(?:tar|parquet|pq)(?:\?[^/]*)?)/(?P<inner>.+)", re.IGNORECASE | re.DOTALL)
"""`shard.tar/000012.jpg`, `photos.parquet/17`."""


def is_image_name(path: str) -> bool:
    """Return whether a search in folders takes a file of this name."""
    return posixpath.splitext(path)[1].lower() in IMAGE_SUFFIXES


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a file name, or a URL before its query, ends in one of the suffixes."""
    plain = name.partition("?")[0] if "://" in name else name
    return plain.lower().endswith(suffixes)
