"""Files and folders: bounded reading of untrusted files, folders for this user alone, folders that searches skip.

Reading never takes more than a stated number of bytes, and never waits for a pipe without a writer. Every fault is an
OSError whose text fits into a message, so callers handle one kind of error.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final, cast

from clipcli.errors import ClipcliError, ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE: Final = 1 << 20
_SHA256_DIGITS: Final = 64
_PIPE_WAIT_MS: Final = 2000
"""Milliseconds to wait for a writer to open a pipe."""
BINARY: Final = getattr(os, "O_BINARY", 0)
"""For `os.open`: without it, Windows changes newlines and ends a file at the byte 26."""
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
_LONGEST: Final = 160
"""Most characters of a library's error text that a message repeats."""
_STREAMS: Final = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})")
STDOUT: Final = 1
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


class TooLargeError(OSError):
    """A file or its content exceeds the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(errno.EFBIG, f"larger than the limit of {size_words(limit)}")


class LineTooLongError(TooLargeError):
    """A line exceeds the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.strerror = f"a line longer than the limit of {size_words(limit)}"


class Utf16Error(OSError):
    """A text is UTF-16, as Excel and PowerShell save it, where UTF-8 is expected."""

    hint = "save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW"

    def __init__(self) -> None:
        super().__init__(errno.EILSEQ, "text in UTF-16")


def size_words(count: int) -> str:
    """Return a number of bytes with a binary unit, such as `64 KiB`."""
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - binary units
        size, unit = size / 1024, unit + 1
    return f"{size:.3g} {_UNITS[unit]}"


@contextmanager
def own_error(
    error: type[ClipcliError], source: str, *, what: str = "damaged", hint: str | None = None
) -> Iterator[None]:
    """Turn any exception of the block into `error`, with a message of one line.

    Libraries do not document what they raise for a damaged file: ValueError and OSError, but also RecursionError,
    OverflowError, struct.error, BadZipFile, TokenError, SyntaxError, ArrowInvalid, MemoryError. The block should
    therefore hold little besides the call of the library.

    Args:
        error: the class to raise.
        source: the file's name for the message.
        what: the problem, before the library's own words in parentheses.
        hint: what the user can do.
    """
    try:
        yield
    except (ClipcliError, ImageError, BrokenPipeError):
        raise
    except Exception as raised:
        raise error(f"{source}: {what} ({words_of(raised)})", hint=hint) from raised


def words_of(error: BaseException) -> str:
    """Return an error's text in one line that is not too long."""
    if isinstance(error, MemoryError):
        return "not enough memory for it"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = " ".join(message.split()) or type(error).__name__
    if isinstance(error, KeyError):
        words = f"no {words}"
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"


def reason_of(error: OSError | ValueError) -> str:
    """Return why a file cannot be read, in lower case and without its name, which the message adds."""
    if isinstance(error, UnicodeError):
        return "not UTF-8 text"
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return words[:1].lower() + words[1:]


def open_file(path: str | Path) -> IO[bytes]:
    """Open a file, or a pipe with a writer, unbuffered.

    Raises:
        OSError: it is missing, is a folder, may not be read, or is a pipe without a writer.
        ValueError: the path contains a NUL.
    """
    descriptor = os.open(path, os.O_RDONLY | BINARY | _NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    try:
        _make_ready(descriptor)
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise


def read_bytes(path: str | Path, limit: int) -> bytes:
    """Read a whole file of at most `limit` bytes. Raises OSError (TooLargeError among them), ValueError."""
    with open_file(path) as stream:
        return read_stream(stream, limit)


def read_text(path: str | Path, limit: int) -> str:
    """Read a whole UTF-8 file of at most `limit` bytes. Raises OSError, ValueError (UnicodeDecodeError among them)."""
    return read_bytes(path, limit).decode("utf-8")


def read_stream(stream: IO[bytes], limit: int) -> bytes:
    """Read a stream of at most `limit` bytes to its end. Raises TooLargeError, OSError."""
    pieces: list[bytes] = []
    remaining = limit
    while piece := stream.read(min(_PIECE, remaining + 1)):
        remaining -= len(piece)
        if remaining < 0:
            raise TooLargeError(limit)
        pieces.append(piece)
    return b"".join(pieces)


def split_name(argument: str) -> tuple[str, str]:
    """Return the name and the path of `NAME=FILE`; the name is empty for a `FILE` alone."""
    name, equals, path = argument.partition("=")
    return (name, path) if equals and name.isidentifier() else ("", argument)


def is_there(path: str | Path) -> bool:
    """Return whether the path exists; False inside a folder that cannot be entered."""
    return os.path.exists(path)  # noqa: PTH110 - pathlib raises where a folder cannot be entered, or a name is too long


def descriptor_of(path: str | os.PathLike[str]) -> int | None:
    """Return the file descriptor that a name such as `/dev/stdout` or `/dev/fd/3` means; None for other names."""
    name = os.fspath(path)
    if name in _STREAMS:
        return _STREAMS[name]
    match = _DESCRIPTOR.fullmatch(name)
    return int(match[1]) if match else None


def is_file(path: str | Path) -> bool:
    """Return whether the path is a file or a link to one; False inside a folder that cannot be entered."""
    return os.path.isfile(path)  # noqa: PTH113 - likewise


def is_folder(path: str | Path) -> bool:
    """Return whether the path is a folder or a link to one; False inside a folder that cannot be entered."""
    return os.path.isdir(path)  # noqa: PTH112 - likewise


def sha256_of(path: str | Path) -> str:
    """Return the sha256 of a file's bytes in hex digits. Raises OSError, ValueError."""
    digest = hashlib.sha256()
    with open_file(path) as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def is_sha256(text: str | None) -> bool:
    """Return whether a text is a SHA-256 digest in 64 lower-case hex digits."""
    return text is not None and len(text) == _SHA256_DIGITS and set(text) <= set("0123456789abcdef")


def refuse_utf16(start: bytes) -> None:
    """Raise Utf16Error if a text begins with a byte order mark of UTF-16."""
    if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise Utf16Error


def open_text(stream: IO[bytes]) -> io.TextIOWrapper:
    """Return a stream of bytes as UTF-8 text, for `csv`; other bytes become surrogates, as in file names.

    Raises:
        Utf16Error: it is UTF-16.
        OSError: it cannot be read.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", stream))
    refuse_utf16(buffered.peek(2)[:2])
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")


def read_lines(stream: IO[bytes], longest: int) -> Iterator[bytes]:
    """Yield the lines of a stream, with their newlines.

    Raises:
        TooLargeError: a line has more than `longest` bytes.
        Utf16Error: it is UTF-16.
        OSError: the stream cannot be read.
    """
    tail, is_first = b"", True
    while piece := stream.read(_PIECE):
        if is_first:
            refuse_utf16(piece)
            is_first = False
        *lines, tail = (tail + piece).split(b"\n")
        for line in lines:
            if len(line) > longest:
                raise LineTooLongError(longest)
            yield line + b"\n"
        if len(tail) > longest:
            raise LineTooLongError(longest)
    if tail:
        yield tail


def _make_ready(descriptor: int) -> None:
    """Refuse folders and wait for the writer of a pipe. Raises OSError."""
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "is a directory")
    if stat.S_ISFIFO(kind):
        _await_writer(descriptor)
    if _NONBLOCK and not stat.S_ISREG(kind):
        os.set_blocking(descriptor, True)


def _await_writer(descriptor: int) -> None:
    """Refuse a pipe that nobody opens for writing, since reading it would wait forever. Raises OSError."""
    import select

    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if poll.poll(_PIPE_WAIT_MS):
            return
        try:
            byte = os.read(descriptor, 1)
        except BlockingIOError:  # the writer has opened it, but is slow
            return
        if not byte:
            raise OSError(errno.EPIPE, "a pipe without a writer")
        raise OSError(errno.EAGAIN, "the pipe was opened for writing at this moment; try again")


def decimal_size(size: float) -> str:
    """Return a number of bytes with a decimal unit, as file managers do: `812 bytes`, `3.4 kB`, `12 MB`, `1.2 GB`."""
    if size < 1000:  # noqa: PLR2004 - decimal units
        return f"{size:.0f} byte{'' if size == 1 else 's'}"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:  # noqa: PLR2004 - what rounds to 1000 has the next unit
            return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"  # noqa: PLR2004 - two digits at least
    return f"{size / 1000:,.1f} TB"


_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_MODE_OF_OTHERS: Final = 0o077
_OPEN_TO_ALL: Final = "other users can write to this folder"


def is_private(folder: Path) -> bool:
    """Return whether only this user and root can write to a folder or replace it.

    True for a missing folder, and always on systems without owners of files.
    """
    if not hasattr(os, "geteuid"):
        return True
    try:
        state = folder.stat()
    except OSError:
        return True
    is_own = state.st_uid in {os.geteuid(), 0}
    return is_own and not state.st_mode & stat.S_IWOTH and not _is_open_to_all(folder.absolute().parent)


def make_private_folder(folder: Path) -> Path:
    """Create a folder and its missing parents for this user alone, and return it.

    Raises:
        OSError: it cannot be created, or other users can write to it.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    if missing and _is_open_to_all(missing[-1].absolute().parent):
        raise PermissionError(errno.EPERM, _OPEN_TO_ALL, str(folder))
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            path.mkdir(_FOLDER_MODE)
            path.chmod(_FOLDER_MODE)
    if not is_private(folder):
        raise PermissionError(errno.EPERM, _OPEN_TO_ALL, str(folder))
    return folder


def _is_open_to_all(folder: Path) -> bool:
    """Return whether everybody may rename files in a folder; with the sticky bit, as in /tmp, only their owners may."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return hasattr(os, "geteuid") and bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def open_private(path: Path, mode: str = "w") -> IO[str]:
    """Open a file for writing for this user alone; mode `x` refuses an existing file. Raises OSError."""
    only_new = os.O_EXCL if mode == "x" else os.O_TRUNC
    flags = os.O_CREAT | os.O_WRONLY | BINARY | only_new | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, _FILE_MODE)
    close_to_others(path)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def close_to_others(path: Path) -> None:
    """Remove the permissions of other users on a file or folder of this user, and on everything in it."""
    with suppress(OSError):
        state = path.lstat()
        if stat.S_ISLNK(state.st_mode) or (hasattr(os, "geteuid") and state.st_uid != os.geteuid()):
            return
        is_dir = stat.S_ISDIR(state.st_mode)
        owner_mode = _FOLDER_MODE if is_dir else _FILE_MODE
        if stat.S_IMODE(state.st_mode) & _MODE_OF_OTHERS or stat.S_IMODE(state.st_mode) & owner_mode != owner_mode:
            path.chmod(owner_mode)
        for below in path.iterdir() if is_dir else ():
            close_to_others(below)


SKIPPED_FOLDERS: Final = frozenset(
    (
        # recycle bins: Windows, Synology, QNAP, netatalk (those of Linux and macOS have hidden names)
        "$recycle.bin", "recycler", "recycled", "#recycle", "@recycle", "network trash folder",
        ".trash", ".trashes", ".recycle", ".recycle.bin", ".dtrash",
        # thumbnails and previews
        "@eadir", "@synoeastream", ".@__thumb", "@__thumb", ".thumbnails", ".thumbs", ".picasaoriginals",
        # what systems and archives keep beside files
        "__macosx", "system volume information", "lost+found", "@tmp", "temporary items", "_gsdata_",
        # snapshots: every file once more
        "#snapshot", "@recently-snapshot", "~snapshot", ".snapshot", ".snapshots", ".zfs",
        # packages of programs
        "node_modules", "bower_components", "__pycache__", ".git", ".venv",
    )
)  # fmt: skip
"""In lower case, since most systems that make these folders ignore case."""
_SKIPPED_PREFIXES: Final = (".trash-",)
"""The recycle bin of one user on another disk (freedesktop.org): `.Trash-1000`."""
_SKIPPED_SUFFIXES: Final = (".lrdata",)
"""Previews of Lightroom's catalogues."""
_PHOTO_LIBRARY: Final = ".photoslibrary"
_ORIGINALS: Final = frozenset(("originals", "masters"))


def is_skipped_folder(name: str, parent: str = "") -> bool:
    """Return whether a search skips a folder of this name.

    Args:
        name: the last part of its path.
        parent: the name of its parent. In a library of Apple Photos only the originals are searched.
    """
    plain = name.lower()
    if plain in SKIPPED_FOLDERS or plain.startswith(_SKIPPED_PREFIXES) or plain.endswith(_SKIPPED_SUFFIXES):
        return True
    return parent.lower().endswith(_PHOTO_LIBRARY) and plain not in _ORIGINALS


def lies_in_skipped_folder(path: str) -> bool:
    """Return whether a folder on the way to a path is skipped; the separator is `/` or the system's."""
    parts = path.replace("\\", "/").split("/")[:-1] if "\\" in path and ":" in path[:3] else path.split("/")[:-1]
    return any(is_skipped_folder(part, parent) for parent, part in zip(["", *parts], parts, strict=False))
