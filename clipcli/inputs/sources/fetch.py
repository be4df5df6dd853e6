"""Read bytes from URLs and files: whole objects, and open files that many threads read."""

from __future__ import annotations

import functools
import io
import os
import threading
import time
import weakref
from concurrent.futures import wait
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

from clipcli.core import files
from clipcli.core.files import read_bytes, read_stream, reason_of
from clipcli.errors import ImageError, InputsError
from clipcli.inputs.sources.filesystems import attempt, file_system, is_url, request_seconds, scheme, stop_event
from clipcli.inputs.sources.refs import MAX_BYTES

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Iterator


class Stream(io.RawIOBase):
    """An open file with a read position."""

    def __init__(self, file: OpenFile, size: int) -> None:
        self.file = file
        self.size = size
        self.position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the read position."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the read position without reading."""
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes, or all that remain. Raises ImageError."""
        data = self.file.read_at(self.position, max(self.size - self.position, 0) if size < 0 else size)
        self.position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes. Raises ImageError."""
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def open_list(path: str) -> IO[bytes]:
    """Open a file or URL of lines for sequential reading.

    Raises:
        OSError: a local file cannot be opened.
        ImageError: a remote file cannot be opened; reading may raise it too.
    """
    if not is_url(path):
        return io.BufferedReader(cast("io.RawIOBase", files.open_file(path)))
    file = open_file(path)
    if file.size is None:
        return io.BytesIO(read_object(path))
    return io.BufferedReader(Stream(file, file.size))


@contextmanager
def read_errors(name: str) -> Iterator[None]:
    """Turn a failure to read a list or table into an InputsError, inside the block.

    Args:
        name: the list or table in messages, without secrets.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        hint = error.hint if isinstance(error, files.Utf16Error) else None
        raise InputsError(f"{name}: cannot be read: {reason_of(error)}", hint=hint) from error
    except ImageError as error:
        raise InputsError(f"{name}: cannot be read: {error.reason}") from error


_BLOCK: Final = 4 << 20
_BLOCKS: Final = 8
"""Blocks of an open remote file that are kept in memory; shards are read in order and need few."""
_OPEN_FILES: Final = 4

_PIECE: Final = 1 << 18
_PATIENCE_SECONDS: Final = 0.25


def read_object(url: str) -> bytes:
    """Return the bytes of a remote object.

    Raises:
        ImageError: at stage `read`, all tries failed; the reason contains no credential.
    """

    def once() -> bytes:
        system, path = file_system(url)
        if hasattr(system, "set_session") and hasattr(system, "encode_url"):
            return _result(_body(system, path), system.loop)
        if getattr(system, "async_impl", False):
            return _result(system._cat_file(path), system.loop)  # noqa: SLF001 - the only form that can be cancelled
        with system.open(path, "rb") as stream:
            return read_stream(stream, MAX_BYTES)

    data = _read_local(url) if scheme(url) in {"file", "local"} else attempt(once)
    if not data:
        raise ImageError("read", "empty file")
    return data


def _read_local(url: str) -> bytes:
    """Return the bytes of a file named by a `file://` URL. Raises ImageError."""
    _, path = file_system(url)
    try:
        if not os.path.isfile(path):  # noqa: PTH113 - any bytes
            raise ImageError("read", "not a file" if os.path.lexists(path) else "no such object")
        return read_bytes(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise ImageError("read", reason_of(error)) from error


async def _body(system: Any, url: str) -> bytes:
    """Return the body of a web server's response as sent, at most MAX_BYTES. Raises ImageError."""
    session = await system.set_session()
    async with session.get(system.encode_url(url), **system.kwargs) as response:
        system._raise_not_found_for_status(response, url)  # noqa: SLF001 - as its own reading does
        data = bytearray()
        async for piece in response.content.iter_chunked(_PIECE):
            data += piece
            if len(data) > MAX_BYTES:
                raise ImageError("read", f"more than {MAX_BYTES / 1e9:.1f} GB, too large for an image")
        return bytes(data)


def _result(request: Coroutine[Any, Any, bytes], loop: asyncio.AbstractEventLoop) -> bytes:
    """Return the result of a request within the time limit; it runs in fsspec's thread and can be cancelled."""
    import asyncio

    stopped = stop_event()
    task, deadline = asyncio.run_coroutine_threadsafe(request, loop), time.monotonic() + request_seconds()
    while not wait([task], min(_PATIENCE_SECONDS, request_seconds())).done:
        if stopped.is_set() or time.monotonic() >= deadline:
            task.cancel()
            raise TimeoutError
    return bytes(task.result())


class OpenFile(Protocol):
    """A file that many threads read."""

    size: int | None

    def read_at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on; fewer at the end of the file."""
        ...


class LocalFile:
    """A local file, read by offset so that threads do not wait for each other."""

    def __init__(self, path: str) -> None:
        self.stream = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - any bytes; closed with its last reader
        self.size: int | None = os.fstat(self.stream.fileno()).st_size
        self._lock = threading.Lock()
        weakref.finalize(self, self.stream.close)

    def read_at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on; fewer at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self.stream.fileno(), count, offset)
        with self._lock:
            self.stream.seek(offset)
            return self.stream.read(count)


class RemoteFile:
    """A remote file, read in blocks with one block read ahead; blocks are cached for all threads."""

    def __init__(self, url: str) -> None:
        def once() -> Any:
            system, path = file_system(url)
            cache = {"cache_type": "background", "cache_options": {"maxblocks": _BLOCKS}}
            return system.open(path, "rb", block_size=_BLOCK, **cache)

        self.stream: IO[bytes] = attempt(once)
        self.size: int | None = getattr(self.stream, "size", None)
        self._lock = threading.Lock()

    def read_at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on; fewer at the end of the file."""

        def once() -> bytes:
            with self._lock:
                self.stream.seek(offset)
                return self.stream.read(count)

        return attempt(once)


def open_random(path: str) -> Any:
    """Return a source for pyarrow: the path of a local file, or an open remote file.

    Raises:
        ImageError: at stage `read`, the file cannot be opened.
    """
    if not is_url(path):
        return path

    def once() -> Any:
        system, remote_path = file_system(path)
        return system.open(remote_path, "rb")

    return attempt(once)


def open_file(path: str) -> OpenFile:
    """Open a file or URL and keep it open while it is in use.

    Raises:
        ImageError: at stage `read`, the file cannot be opened.
    """
    if is_url(path):
        return _opened_remote(path)
    try:
        status = os.stat(path)  # noqa: PTH116 - paths are strings here, any bytes included
        if not os.path.isfile(path):  # noqa: PTH113
            raise ImageError("read", "not a file")
        return _opened_local(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError as error:
        words = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
        raise ImageError("read", words) from error


@functools.lru_cache(maxsize=_OPEN_FILES)
def _opened_local(path: str, _state: tuple[int, ...]) -> LocalFile:
    return LocalFile(path)


@functools.lru_cache(maxsize=_OPEN_FILES)
def _opened_remote(url: str) -> RemoteFile:
    return RemoteFile(url)
