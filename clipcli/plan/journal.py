"""The journal: each step is written to disk before a file moves. An incomplete last line means a killed run.

A journal is untrusted input. A file without the first line of a journal is not changed, every path in it must obey the
rules of a plan, and its seals show whether this user's clipcli wrote it on this machine.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Final

from clipcli.core.decode import DecodeError, decode, parse_json, shown
from clipcli.core.files import BINARY, TooLargeError, read_lines
from clipcli.errors import OutputError, PlanError
from clipcli.plan.file_state import named, words_of
from clipcli.plan.journal_lines import Header, Seals, Step, own_key, parse_mark, parse_step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

VERSION: Final = 1
_SUFFIX: Final = ".journal"
_START: Final = b'{"journal": '
"""The beginning of every line."""
_MAX_LINE_SIZE: Final = 1 << 18
"""Limit of a line in bytes: a few paths of 4,096 bytes, each byte escaped to six."""
_MAX_FILE_SIZE: Final = 1 << 30
_LOCKED_BYTE: Final = (1 << 31) - 2
"""Windows locks byte ranges; this byte lies beyond any journal, and where its C library counts in 32 bits."""
_NEW: Final = os.O_CREAT | os.O_EXCL
_FLAGS: Final = os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | BINARY


@dataclass(frozen=True)
class Written:
    """The content of a journal."""

    steps: list[Step]
    """The steps with their last known states."""
    length: int
    """Number of bytes up to the end of the last complete line."""
    seal: str
    """The seal of the last complete line, if all lines are sealed."""
    is_own: bool
    """Whether this user's clipcli wrote every line, on this machine."""


def journal_of(plan: Path) -> Path:
    """Return the path of a plan's journal: beside the plan, so that a second `apply` finds it."""
    return plan.with_name(plan.name + _SUFFIX)


class Journal:
    """An open journal. Every call returns after its line is on the disk."""

    def __init__(self, path: Path, stream: IO[bytes], written: Written, retired: Path | None = None) -> None:
        self.path = path
        self.steps = written.steps
        self.is_own = written.is_own
        """Whether this user's clipcli wrote all of it, on this machine."""
        self.retired = retired
        """The new name of the journal of an earlier plan with this name."""
        self._stream = stream
        self._seals = Seals(own_key(make=True) if self.is_own else None, written.seal)

    def begin(self, step: Step) -> Step:
        """Record a step before it is done, and return it with its number."""
        step = replace(step, number=len(self.steps), state="begun")
        self.steps.append(step)
        self._write(asdict(step))
        return step

    def mark(self, step: Step, state: str) -> None:
        """Record the new state of a step."""
        self.steps[step.number] = replace(self.steps[step.number], state=state)
        self._write({"number": step.number, "state": state})

    def _write(self, record: dict[str, Any]) -> None:
        try:
            _write_whole(self._stream, _line(record, self._seals))
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise OutputError(
                f"cannot write the journal {self.path}: {error.strerror}", hint="no other file was touched"
            ) from error


def read_journal(path: Path) -> list[Step]:
    """Return the steps of a journal with their last known states.

    Raises:
        PlanError: the file is missing, not a journal, damaged before its last line, or of another version.
    """
    try:
        with _open(path, os.O_RDONLY) as stream:
            return _read(path, stream).steps
    except OSError as error:
        raise PlanError(f"cannot read the journal {path}: {words_of(error, str(path))}") from error


@contextmanager
def open_journal(path: Path, *, planned: Collection[tuple[str, str]] | None = None) -> Iterator[Journal]:
    """Open a journal to continue it, or create one. Only one process can hold it.

    If an earlier run removed a file that is not `planned` (path and SHA-256), the journal belongs to an earlier plan of
    the same name; it is renamed, and a new one is created.

    Raises:
        OutputError: it cannot be written, or another process uses it.
        PlanError: the file is not a journal; it is not changed.
    """
    try:
        stream = _open(path, os.O_RDWR)
    except FileNotFoundError:
        stream = _create(path)
    except OSError as error:
        raise OutputError(f"cannot write the journal {path}: {words_of(error, str(path))}") from error
    with stream:
        _lock(path, stream)
        written = _read(path, stream)
        removed = {(step.path, step.sha256) for step in written.steps if step.state in {"begun", "done"}}
        if planned is None or removed.issubset(planned):
            yield _resume(path, stream, written)
            return
        retired = _retire(path)
    if retired is None:  # now that it is closed
        retired = _retire(path)
    with _create(path) as stream:
        yield _resume(path, stream, _read(path, stream), retired)


def _resume(path: Path, stream: IO[bytes], written: Written, retired: Path | None = None) -> Journal:
    try:
        if os.fstat(stream.fileno()).st_size > written.length:
            stream.truncate(written.length)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot write the journal {path}: {words_of(error, str(path))}") from error
    return Journal(path, stream, written, retired)


def _retire(path: Path) -> Path | None:
    """Rename an old journal, so that the plan's journal has the steps of this plan only.

    Returns its new name; None on Windows where it is open, since no file can be renamed there while it is.
    """
    number = 1
    while os.path.lexists(new_path := path.with_name(f"{path.name}.{number}")):
        number += 1
    try:
        path.rename(new_path)
    except PermissionError:
        return None
    except OSError as error:
        raise OutputError(f"cannot write the journal {path}: {words_of(error, str(path))}") from error
    return new_path


def _write_whole(stream: IO[bytes], line: bytes) -> None:
    """Write a line completely; an unbuffered stream may take only a part of it. Raises OSError."""
    if stream.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open(path: Path, access: int) -> IO[bytes]:
    """Open a journal, unbuffered. Raises OSError, or PlanError if it is not a regular file."""
    try:
        descriptor = os.open(path, access | _FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PlanError(f"{path}: a link, not a journal", hint="name the journal itself") from error
        if error.errno in {errno.EISDIR, errno.ENXIO}:
            raise PlanError(f"{path}: not a regular file, so not a journal", hint=_hint(path)) from error
        raise
    stream = os.fdopen(descriptor, "r+b" if access == os.O_RDWR else "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise PlanError(f"{path}: not a regular file, so not a journal", hint=_hint(path))
    return stream


def _create(path: Path) -> IO[bytes]:
    """Create a journal; write its first line before it gets its name. Raises OutputError."""
    part = path.with_name(f".clipcli-journal-{secrets.token_hex(8)}.part")
    try:
        stream: IO[bytes] = os.fdopen(os.open(part, _NEW | os.O_RDWR | _FLAGS, 0o600), "r+b", buffering=0)
        try:
            _lock(path, stream)
            header = _line(asdict(Header(secrets.token_hex(16))), Seals(own_key(make=True)))
            _write_whole(stream, header)
            os.fsync(stream.fileno())
            stream = _settle(part, path, stream)
        except BaseException:
            stream.close()
            with suppress(OSError):
                part.unlink()
            raise
    except FileExistsError as error:
        raise OutputError(f"another clipcli is using {path}", hint="wait until it has finished") from error
    except OSError as error:
        raise OutputError(f"cannot write the journal {path}: {words_of(error, str(path))}") from error
    return stream


def _settle(part: Path, path: Path, stream: IO[bytes]) -> IO[bytes]:
    """Give a new journal its only name, and return it, open and locked. Raises OSError, OutputError."""
    try:
        _name(part, path)
        part.unlink(missing_ok=True)
    except PermissionError:  # Windows, which neither renames a file that is open nor removes one of its names
        stream.close()
        if not os.path.lexists(path):
            part.rename(path)
        with suppress(OSError):
            part.unlink()
        stream = _open(path, os.O_RDWR)
        _lock(path, stream)
    return stream


def _name(part: Path, path: Path) -> None:
    """Give a new journal its name, which must be free. Raises OSError."""
    try:
        os.link(part, path)
    except OSError:
        if os.path.lexists(path):
            raise
        os.rename(part, path)  # a file system without hard links


def _line(record: dict[str, Any], seals: Seals) -> bytes:
    return seals.put_on(json.dumps({"journal": VERSION, **record}).encode("ascii")) + b"\n"


def _lock(path: Path, stream: IO[bytes]) -> None:
    """Lock the journal file, which needs write permission. Raises OutputError if another process holds it."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            stream.seek(_LOCKED_BYTE)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            stream.seek(0)
        moved = os.path.lexists(path) and os.lstat(path).st_ino != os.fstat(stream.fileno()).st_ino
    except OSError as error:
        if error.errno in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}:
            return  # a file system without locks
        if error.errno not in {errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}:
            raise OutputError(f"cannot lock {path}: {words_of(error, str(path))}") from error
        moved = True
    if moved:
        raise OutputError(f"another clipcli is using {path}", hint="wait until it has finished")


def _read(path: Path, stream: IO[bytes]) -> Written:
    """Read the lines of an open journal. Raises PlanError, which names the line."""
    number, length, last = 1, 0, b""
    steps: list[Step] = []
    seals = Seals(own_key(make=False))
    try:
        stream.seek(0)
        if os.fstat(stream.fileno()).st_size > _MAX_FILE_SIZE:
            raise TooLargeError(_MAX_FILE_SIZE)
        for number, line in enumerate(read_lines(stream, _MAX_LINE_SIZE), 1):
            if not line.endswith(b"\n"):  # the run was killed while it wrote this line
                last = line
                break
            _decode_line(line, number, steps)
            seals.follow(line[:-1])
            length += len(line)
        _check_end(length, last)
    except DecodeError as error:
        raise PlanError(f"{path}, line {number}: not a line of a journal ({error})", hint=_hint(path)) from error
    except OSError as error:
        raise PlanError(f"cannot read the journal {path}: {words_of(error, str(path))}") from error
    return Written(steps, length, seals.last, seals.is_own)


def _check_end(length: int, line: bytes) -> None:
    """Check that an incomplete last line is the start of a line, or zeros from a power cut. Raises DecodeError."""
    if not length:
        raise DecodeError("it has no complete line")
    if not line.startswith(_START[: len(line)]) and line.strip(b"\0"):
        raise DecodeError("neither a line nor the beginning of one")


def _decode_line(line: bytes, number: int, steps: list[Step]) -> None:
    """Decode one line and add it to the steps. Raises DecodeError."""
    if not line.startswith(_START):
        raise DecodeError(f"it does not begin with {_START.decode()!r}")
    record = parse_json(line)
    version = record.pop("journal")
    if version != VERSION or isinstance(version, bool):
        raise DecodeError(f"version {shown(version)}, not {VERSION}")
    record.pop("seal", None)
    if "nonce" in record and number == 1:
        decode(Header, record)
        return
    if "path" in record:
        step = parse_step(record)
        if step.number != len(steps):
            raise DecodeError(f"step {step.number} in place of step {len(steps)}")
        steps.append(replace(step, image=named(step.image, step.path)))
        return
    mark = parse_mark(record)
    if not 0 <= mark.number < len(steps):
        raise DecodeError(f"no step {mark.number}")
    steps[mark.number] = replace(steps[mark.number], state=mark.state)


def _hint(path: Path) -> str:
    """Return the hint for a file that is not a journal; it is probably the plan."""
    journal = journal_of(path)
    return f"clipcli undo {journal}" if journal.exists() else "clipcli apply writes journals"


def _sync_folder(folder: Path) -> None:
    """Make the journal's name durable, on systems that can sync a folder."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
