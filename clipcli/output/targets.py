"""Open the target of an output: stdout, a URL, or a file that replaces an older one only when complete."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clipcli.core.console import above_bars, disarm_log, is_build_log
from clipcli.core.files import STDOUT, descriptor_of, is_file, is_there
from clipcli.core.redaction import redact
from clipcli.errors import OutputError
from clipcli.inputs.sources.filesystems import check_writable, is_url, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFINISHED = ".part"
"""Suffix of an unfinished file; `kill -9` can leave such a file behind."""
_PLAIN_FILE = 0o666
_STDOUT_NAME = "standard output"
_IS_WINDOWS = os.name == "nt"


@dataclass(frozen=True)
class Target:
    """An open target. An error of the system becomes an `OutputError`; a closed pipe passes through."""

    name: str
    stream: IO[bytes]
    is_log: bool = False
    """Whether the output becomes the log of a CI server."""

    def write(self, data: bytes) -> None:
        """Write data; for the log of a CI server, without workflow commands."""
        self.write_exact(disarm_log(data) if self.is_log else data)

    def write_exact(self, data: bytes) -> None:
        """Write data unchanged; on a terminal, above the progress bars."""
        if self.is_terminal:
            with _output_errors(self.name), above_bars():
                self.stream.write(data)
                self.stream.flush()
        else:
            with _output_errors(self.name):
                self.stream.write(data)

    def flush(self) -> None:
        """Flush the buffer."""
        with _output_errors(self.name):
            self.stream.flush()

    @property
    def is_terminal(self) -> bool:
        """Return whether the target is a terminal."""
        return self.stream.isatty()


@contextmanager
def open_target(path: str | None) -> Iterator[Target]:
    """Open stdout (None or `-`), a file or a URL for writing.

    A file is written under a temporary name and renamed when the block ends without an error; after an exception
    nothing is left. Data for a URL is kept on disk until then. A target that is not a regular file, such as a device, a
    pipe or `/dev/fd/3`, is written directly.

    Raises:
        OutputError: the folder or bucket is missing or not writable, or the disk is full.
        UsageError: the URL is read-only.
    """
    number = None if path is None else descriptor_of(path)
    if path is None or path == "-" or number == STDOUT:
        target = Target(_STDOUT_NAME, sys.stdout.buffer, is_log=is_build_log())
        yield target
        target.flush()
    elif is_url(path):
        yield from _sending(path)
    elif number is not None or (is_there(path) and not is_file(path)):
        with _output_errors(path):  # keep the position of an open file, which may have been opened for appending
            stream = os.fdopen(os.dup(number), "wb") if number is not None else Path(path).open("wb")  # noqa: SIM115
        with _closing(stream):
            target = Target(path, stream)
            yield target
            target.flush()
    else:
        yield from _replacing(Path(path))


def unfinished_prefix(name: str) -> str:
    """Return the prefix of the temporary name of a file; eight random characters follow."""
    return f".{name}."


def _replacing(path: Path) -> Iterator[Target]:
    import tempfile  # it takes 3 ms, which most runs save

    destination = path.resolve() if path.is_symlink() else path
    with _output_errors(str(path)):
        handle, name = tempfile.mkstemp(
            dir=destination.parent, prefix=unfinished_prefix(destination.name), suffix=UNFINISHED
        )
    part = Path(name)
    try:
        with _closing(os.fdopen(handle, "wb")) as stream:
            target = Target(str(path), stream)
            yield target
            target.flush()
            with _output_errors(str(path)):
                os.fsync(stream.fileno())
        with _output_errors(str(path)):
            part.chmod(destination.stat().st_mode if is_there(destination) else _PLAIN_FILE & ~_umask())
            part.replace(destination)
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    """Delete an unfinished file; Windows does not delete read-only files."""
    try:
        part.unlink(missing_ok=True)
    except PermissionError:
        part.chmod(_PLAIN_FILE)
        part.unlink(missing_ok=True)


def _sending(url: str) -> Iterator[Target]:
    import tempfile

    check_writable(url)
    with tempfile.TemporaryDirectory(prefix="clipcli-") as folder:
        part = Path(folder) / "part"
        with _closing(part.open("wb")) as stream:
            target = Target(redact(url), stream)
            yield target
            target.flush()
        upload(part, url)


@contextmanager
def _closing(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Close a flushed stream; ignore errors of closing, since flushing has reported them."""
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):
            stream.close()


def _umask() -> int:
    """Return the process's umask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _output_errors(where: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except FileNotFoundError as error:
        raise OutputError(f"cannot write {where}: its folder does not exist", hint="make the folder first") from error
    except OSError as error:
        if error.errno == errno.EINVAL and where == _STDOUT_NAME and _IS_WINDOWS:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error  # Windows' error for a closed pipe
        reason = (error.strerror or str(error)).lower()
        hint = "close the program that has it open" if isinstance(error, PermissionError) and _IS_WINDOWS else None
        raise OutputError(f"cannot write {where}: {reason}", hint=hint) from error
