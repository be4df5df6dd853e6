"""What was begun and what was done, on disk before anything moves; a torn last line is the mark of a killed run."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from clipcli.errors import OutputError, PlanError

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1
_SUFFIX: Final = ".journal"


@dataclass(frozen=True)
class Step:
    """One action on one file, with all that is needed to take it back."""

    number: int
    action: str
    image: str
    path: str
    keeper: str
    sha256: str
    size: int
    mtime_ns: int
    mode: int
    """Permission bits."""
    target: str = ""
    """Where it moves to."""
    made: tuple[str, ...] = ()
    """Folders that are made for it, outermost first."""
    began: float = 0.0
    """Seconds since 1970."""
    state: str = "begun"
    """begun, done, failed or undone."""


def journal_of(plan: Path) -> Path:
    """The journal of a plan stands beside it, so that a second `apply` finds the first."""
    return plan.with_name(plan.name + _SUFFIX)


class Journal:
    """An open journal. Every line is on the disk before the call returns."""

    def __init__(self, path: Path, stream: IO[bytes], steps: list[Step]) -> None:
        self.path = path
        self.steps = steps
        self._stream = stream

    def begin(self, step: Step) -> Step:
        """Note that a step is about to be taken; gives it its number."""
        step = replace(step, number=len(self.steps), state="begun")
        self.steps.append(step)
        self._write({"journal": VERSION, **asdict(step)})
        return step

    def mark(self, step: Step, state: str) -> None:
        """Note what became of a step."""
        self.steps[step.number] = replace(self.steps[step.number], state=state)
        self._write({"journal": VERSION, "number": step.number, "state": state})

    def _write(self, record: dict[str, Any]) -> None:
        try:
            self._stream.write(json.dumps(record).encode("ascii") + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise OutputError(
                f"cannot write the journal {self.path}: {error.strerror}", hint="no further file was touched"
            ) from error


def read_journal(path: Path) -> list[Step]:
    """The steps of a journal with their last known states.

    Raises:
        PlanError: missing, damaged before its last line, or of another version.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise PlanError(f"cannot read the journal {path}: {(error.strerror or str(error)).lower()}") from error
    steps: list[Step] = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline was being written when the run ended
        try:
            _take(json.loads(line), steps)
        except (ValueError, TypeError, KeyError, IndexError) as error:  # noqa: PERF203 - the line is named
            raise PlanError(
                f"{path}, line {number}: no line of a journal ({error})", hint="clipcli apply writes journals"
            ) from error
    return steps


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open a journal to go on with it, or begin one. Only one process can hold it.

    Raises:
        OutputError: it cannot be written, or another process works with it.
        PlanError: the file is no journal.
    """
    lock = FileLock(_lock_of(path), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(f"another clipcli works with {path}", hint="wait until it has finished") from error
    try:
        steps = read_journal(path) if path.exists() else []
        with _open(path) as stream:
            yield Journal(path, stream, steps)
    finally:
        lock.release()


def _lock_of(path: Path) -> str:
    """Locks stand among temporary files: one beside the plan would stay there."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]
    return str(Path(tempfile.gettempdir()) / f"clipcli-{name}.lock")


def _open(path: Path) -> IO[bytes]:
    try:
        stream = path.open("ab")
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            stream.truncate(data.rfind(b"\n") + 1)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot write the journal {path}: {(error.strerror or str(error)).lower()}") from error
    return stream


def _take(record: dict[str, Any], steps: list[Step]) -> None:
    if record["journal"] != VERSION:
        raise ValueError(f"version {record['journal']!r}, not {VERSION}")
    del record["journal"]
    if "path" in record:
        record["made"] = tuple(record["made"])
        steps.append(Step(**record))
    else:
        steps[record["number"]] = replace(steps[record["number"]], state=record["state"])


def _sync_folder(folder: Path) -> None:
    """Make the journal's own name durable; not every system lets a folder be synced."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
