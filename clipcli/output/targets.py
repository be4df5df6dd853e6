"""Where bytes go: stdout, or a file that replaces its predecessor only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clipcli.core.console import above_bars, disarm_log, is_build_log
from clipcli.core.files import STDOUT, descriptor_of, is_file, is_there
from clipcli.core.redaction import redact
from clipcli.errors import OutputError
from clipcli.inputs.sources.filesystems import is_url
from clipcli.inputs.sources.upload import check_place, send

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFINISHED = ".part"
"""How the name of a file ends that is being written; what `kill -9` leaves behind."""
_PLAIN_FILE = 0o666
_STDOUT_NAME = "standard output"
_IS_WINDOWS = os.name == "nt"


@dataclass(frozen=True)
class Target:
    """An open place for bytes. A refusal of the system becomes an `OutputError`; a closed pipe passes through."""

    name: str
    stream: IO[bytes]
    is_log: bool = False
    """Whether what is written becomes the log of a build."""

    def write(self, data: bytes) -> None:
        """Write all of it; into the log of a build, so that nothing in it commands the server."""
        self.write_exact(disarm_log(data) if self.is_log else data)

    def write_exact(self, data: bytes) -> None:
        """Write all of it as it is; on a terminal, above the bars that stderr has there."""
        if self.is_terminal:
            with _plain_words(self.name), above_bars():
                self.stream.write(data)
                self.stream.flush()
        else:
            with _plain_words(self.name):
                self.stream.write(data)

    def flush(self) -> None:
        """Let out what is buffered."""
        with _plain_words(self.name):
            self.stream.flush()

    @property
    def is_terminal(self) -> bool:
        """Return whether a person looks at it."""
        return self.stream.isatty()


@contextmanager
def open_target(path: str | None) -> Iterator[Target]:
    """Bytes to stdout (None or `-`), to a file or to a URL.

    A file is written beside its place and moved there when the block ends well; on any exception nothing is left. What
    goes to a URL is kept on disk until then. What is no ordinary file, such as a device, a pipe or `/dev/fd/3`, is
    written directly.

    Raises:
        OutputError: the folder or bucket is missing or not writable, or the disk is full.
        UsageError: a URL that nothing is written to.
    """
    number = None if path is None else descriptor_of(path)
    if path is None or path == "-" or number == STDOUT:
        target = Target(_STDOUT_NAME, sys.stdout.buffer, is_log=is_build_log())
        yield target
        target.flush()
    elif is_url(path):
        yield from _sending(path)
    elif number is not None or (is_there(path) and not is_file(path)):
        with _plain_words(path):  # an open file goes on where it is: it may have been opened to be appended to
            stream = os.fdopen(os.dup(number), "wb") if number is not None else Path(path).open("wb")  # noqa: SIM115
        with _closing(stream):
            target = Target(path, stream)
            yield target
            target.flush()
    else:
        yield from _replacing(Path(path))


def unfinished_prefix(name: str) -> str:
    """Return how the name of a file begins that will be `name`; eight random characters follow."""
    return f".{name}."


def _replacing(path: Path) -> Iterator[Target]:
    destination = path.resolve() if path.is_symlink() else path
    with _plain_words(str(path)):
        handle, name = tempfile.mkstemp(
            dir=destination.parent, prefix=unfinished_prefix(destination.name), suffix=UNFINISHED
        )
    part = Path(name)
    try:
        with _closing(os.fdopen(handle, "wb")) as stream:
            target = Target(str(path), stream)
            yield target
            target.flush()
            with _plain_words(str(path)):
                os.fsync(stream.fileno())
        with _plain_words(str(path)):
            part.chmod(destination.stat().st_mode if is_there(destination) else _PLAIN_FILE & ~_umask())
            part.replace(destination)
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    """Remove what is left of a file that was not finished; Windows removes no file that is read-only."""
    try:
        part.unlink(missing_ok=True)
    except PermissionError:
        part.chmod(_PLAIN_FILE)
        part.unlink(missing_ok=True)


def _sending(url: str) -> Iterator[Target]:
    check_place(url)
    with tempfile.TemporaryDirectory(prefix="clipcli-") as folder:
        part = Path(folder) / "part"
        with _closing(part.open("wb")) as stream:
            target = Target(redact(url), stream)
            yield target
            target.flush()
        send(part, url)


@contextmanager
def _closing(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Close a stream that was flushed; one that could not be tries again when it is closed, and its error is known."""
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
def _plain_words(where: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except FileNotFoundError as error:
        raise OutputError(f"cannot write {where}: its folder does not exist", hint="make the folder first") from error
    except OSError as error:
        if error.errno == errno.EINVAL and where == _STDOUT_NAME and _IS_WINDOWS:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error  # what Windows says of one
        reason = (error.strerror or str(error)).lower()
        hint = "close the program that has it open" if isinstance(error, PermissionError) and _IS_WINDOWS else None
        raise OutputError(f"cannot write {where}: {reason}", hint=hint) from error
