"""A file, near or far, as a stream of bytes: archives are read so, and lists."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any, cast

from clipcli import files
from clipcli.sources.fetching import open_file, read_object
from clipcli.sources.places import is_url

if TYPE_CHECKING:
    from clipcli.sources.fetching import OpenFile


class Stream(io.RawIOBase):
    """An open file with a place in it."""

    def __init__(self, file: OpenFile, size: int) -> None:
        self.file = file
        self.size = size
        self.place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place."""
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is read."""
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def read(self, size: int = -1) -> bytes:
        """Some bytes from the place on, or the rest. Raises ImageError."""
        data = self.file.read_at(self.place, max(self.size - self.place, 0) if size < 0 else size)
        self.place += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer. Raises ImageError."""
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def open_list(path: str) -> IO[bytes]:
    """A file of lines, to be read from its beginning to its end; of a URL, in blocks.

    Raises:
        OSError: a local one cannot be opened.
        ImageError: a remote one cannot; also while it is read.
    """
    if not is_url(path):
        return io.BufferedReader(cast("io.RawIOBase", files.open_file(path)))
    file = open_file(path)
    if file.size is None:
        return io.BytesIO(read_object(path))
    return io.BufferedReader(Stream(file, file.size))
