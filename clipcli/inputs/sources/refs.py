"""One input, and what can be read besides a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_FIELDS: Final[Mapping[str, object]] = {}
"""The fields of an input that is no row of a table."""


class ByteSource(Protocol):
    """Bytes that are somewhere else than in a file of their own. Small and picklable: it only says where they are."""

    @property
    def is_remote(self) -> bool:
        """Return whether reading waits for a network, so that many should be under way at once."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes, where they are known without asking."""
        ...

    def read(self) -> bytes:
        """Return the bytes of one image.

        Raises:
            ImageError: at stage `read`, with the reason.
        """
        ...


@dataclass(frozen=True)
class ImageRef:
    """One input. Both strings are `os.fsdecode`d, so any legal file name survives the way in and out."""

    path: str
    """What is opened: a file; or a URL, a shard's member or a table's row, which `source` reads."""
    name: str
    """As the user wrote it: the `image` of every row. Of a URL, without what is secret in it."""
    problem: str | None = None
    """Why it cannot be read, when that is known before trying (a folder that may not be listed)."""
    source: ByteSource | None = None
    """Where the bytes are when that is no file."""
    fields: Mapping[str, object] = field(default_factory=lambda: NO_FIELDS, compare=False, repr=False)
    """Other columns of the table that the input is a row of: those that are carried to the output."""


@dataclass(frozen=True)
class ListedPath:
    """A path or URL in a row of a table; what it stands for is looked up as for an argument."""

    path: str
    fields: Mapping[str, object]
