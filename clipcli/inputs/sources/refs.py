"""References to inputs: `ImageRef` for one input, `ByteSource` for bytes outside plain files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

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
