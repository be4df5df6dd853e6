"""References to inputs: `ImageRef` for one input, `ByteSource` for bytes outside plain files.

The suffix of a name tells images, shards and tables apart before anything is opened.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".fli", ".flc", ".gif", ".heic",
    ".heif", ".icns", ".ico", ".im", ".j2c", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl",
    ".msp", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".rgb", ".rgba", ".sgi", ".tga",
    ".tif", ".tiff", ".webp", ".xbm", ".xpm",
})  # fmt: skip
"""Suffixes of the files that a search in folders takes. A file named as an argument is always tried."""
LONGEST_NAME: Final = 1 << 16
"""Most characters of a path or URL; no system opens a longer one."""
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
NO_FIELDS: Final[Mapping[str, object]] = {}
"""The fields of an input that is not a row of a table."""


class ByteSource(Protocol):
    """The location of an image's bytes that are not in a plain file. Small and picklable."""

    @property
    def is_remote(self) -> bool:
        """Return whether reading waits for a network, so that many reads should run in parallel."""
        ...

    @property
    def size(self) -> int | None:
        """Return the size in bytes, or None where it is unknown without a request."""
        ...

    def read(self) -> bytes:
        """Return the bytes of one image.

        Raises:
            ImageError: at stage `read`, with the reason.
        """
        ...


@dataclass(frozen=True)
class ImageRef:
    """One input. Both strings are decoded with `os.fsdecode`, so any legal file name is preserved."""

    path: str
    """The file to open; or a URL, a member of a shard or a row of a table, which `source` reads."""
    name: str
    """The name as the user wrote it, the `image` of every row. Secrets are removed from URLs."""
    problem: str | None = None
    """Why it cannot be read, if that is known in advance (a folder that may not be listed)."""
    source: ByteSource | None = None
    """The location of bytes that are not in a plain file."""
    fields: Mapping[str, object] = field(default_factory=lambda: NO_FIELDS, compare=False, repr=False)
    """Other columns of the table's row, to copy to the output."""


@dataclass(frozen=True)
class ListedPath:
    """A path or URL in a row of a table; it is expanded like an argument."""

    path: str
    fields: Mapping[str, object]


def is_image_name(path: str) -> bool:
    """Return whether a search in folders takes a file of this name."""
    return posixpath.splitext(path)[1].lower() in IMAGE_SUFFIXES


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a file name, or a URL before its query, ends in one of the suffixes."""
    plain = name.partition("?")[0] if "://" in name else name
    return plain.lower().endswith(suffixes)
