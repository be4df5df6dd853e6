"""What was begun and what was done, on disk before anything moves; a torn last line is the mark of a killed run."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from clipcli.errors import OutputError, PlanError
from clipcli.plan.states import words_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

VERSION: Final = 1
_SUFFIX: Final = ".journal"
_STATES: Final = ("begun", "done", "failed", "undone")
_KINDS: Final = {"int": int, "str": str, "float": int | float, "tuple[str, ...]": tuple}


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
    inode: int = 0
    root: str = ""
    """The folder that was searched."""
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

    def __init__(self, path: Path, stream: IO[bytes], steps: list[Step], retired: Path | None = None) -> None:
        self.path = path
        self.steps = steps
        self.retired = retired
        """What the journal of an earlier plan of this name is called now."""
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
            _write_whole(self._stream, json.dumps(record).encode("ascii") + b"\n")
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
        raise PlanError(f"cannot read the journal {path}: {words_of(error, str(path))}") from error
    steps: list[Step] = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline was being written when the run ended
        try:
            _take(json.loads(line), steps)
        except (ValueError, TypeError, KeyError, IndexError) as error:  # noqa: PERF203 - the line is named
            raise PlanError(f"{path}, line {number}: no line of a journal ({error})", hint=_hint(path)) from error
    return steps


@contextmanager
def open_journal(path: Path, *, planned: Collection[tuple[str, str]] | None = None) -> Iterator[Journal]:
    """Open a journal to go on with it, or begin one. Only one process can hold it.

    Where a file that an earlier run took away is not `planned` (path and sha256), the journal belongs to a plan that
    had the same name before; it is kept under another name.

    Raises:
        OutputError: it cannot be written, or another process works with it.
        PlanError: the file is no journal.
    """
    lock = FileLock(_lock_of(path), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(f"another clipcli works with {path}", hint="wait until it has finished") from error
    except OSError as error:
        raise OutputError(f"cannot lock {path}: {words_of(error, str(path))}") from error
    try:
        steps, retired = read_journal(path) if path.exists() else [], None
        away = {(step.path, step.sha256) for step in steps if step.state in {"begun", "done"}}
        if planned is not None and not away.issubset(planned):
            steps, retired = [], _retire(path)
        with _open(path) as stream:
            yield Journal(path, stream, steps, retired)
    finally:
        lock.release()


def _retire(path: Path) -> Path:
    """Give an old journal another name, so that the plan's journal has the steps of this plan only."""
    number = 1
    while (other := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    path.rename(other)
    return other


def _write_whole(stream: IO[bytes], line: bytes) -> None:
    if stream.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lock_of(path: Path) -> str:
    """Locks stand among temporary files: one beside the plan would stay there."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]
    return str(Path(tempfile.gettempdir()) / f"clipcli-{name}.lock")


def _open(path: Path) -> IO[bytes]:
    try:
        stream = path.open("ab", buffering=0)  # nothing is left in a buffer to be written later
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            stream.truncate(data.rfind(b"\n") + 1)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot write the journal {path}: {words_of(error, str(path))}") from error
    return stream


def _take(record: dict[str, Any], steps: list[Step]) -> None:
    if not isinstance(record, dict) or "journal" not in record:
        raise ValueError("it has no field 'journal'")
    if record["journal"] != VERSION:
        raise ValueError(f"version {record['journal']!r}, not {VERSION}")
    if record["state"] not in _STATES:
        raise ValueError(f"no state {record['state']!r}")
    del record["journal"]
    if "path" not in record:
        steps[_index(record, len(steps))] = replace(steps[record["number"]], state=record["state"])
        return
    if record["number"] != len(steps):
        raise ValueError(f"step {record['number']!r} where step {len(steps)} is due")
    record["made"] = tuple(record["made"])
    steps.append(_checked(Step(**record)))


def _index(record: dict[str, Any], count: int) -> int:
    number = record["number"]
    if not isinstance(number, int) or not 0 <= number < count:
        raise ValueError(f"no step {number!r}")
    return number


def _checked(step: Step) -> Step:
    """The step, if its values are of the kinds that they must be. Raises ValueError."""
    for one in fields(Step):
        value, kind = getattr(step, one.name), _KINDS[str(one.type)]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{one.name!r} cannot be {value!r}")  # noqa: TRY004 - a line of a file, no argument
    if not all(os.path.isabs(path) for path in (step.path, step.keeper, *step.made)):
        raise ValueError("paths must be absolute")
    return step


def _hint(path: Path) -> str:
    """What to do with a file that is no journal: most likely it is the plan."""
    other = journal_of(path)
    return f"clipcli undo {other}" if other.exists() else "clipcli apply writes journals"


def _sync_folder(folder: Path) -> None:
    """Make the journal's own name durable; not every system lets a folder be synced."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
