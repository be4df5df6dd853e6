"""What every format's writer offers, and what they share."""

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from array import array
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from clipcli.errors import UsageError
from clipcli.output.json import dumps
from clipcli.output.targets import Target, open_target
from clipcli.vectorfiles.info import to_json
from clipcli.vectorfiles.vector_file import errors_path, failure_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.vectorfiles.info import Failure, Positions, VectorDtype, VectorRows, VectorsInfo


@dataclass(frozen=True)
class WritePlan:
    """What is going to be written."""

    path: Path | None
    """None is stdout, for formats that can be streamed; there is no second file then."""
    info: VectorsInfo
    rows: int
    """How many rows with a vector will come."""
    dim: int
    dtype: VectorDtype = "float32"
    pipe: str | None = None
    """What is written in place of stdout."""


class VectorsWriter(ABC):
    """Rows and failures in, in order of the inputs; the files appear whole when `stack` is left without an error."""

    def __init__(self, plan: WritePlan, stack: ExitStack) -> None:
        self.plan = plan
        self.stack = stack
        self.dtype = np.dtype(plan.dtype).newbyteorder("<")
        self._targets: list[Target] = []
        self.target = self._open(plan.path or plan.pipe)
        self._errors: Target | None = None
        self.start()

    def start(self) -> None:  # noqa: B027 - not every format has something to write
        """Write what is known before the first row."""

    @abstractmethod
    def write(self, rows: VectorRows) -> None:
        """Take rows with a vector."""

    def fail(self, lost: Failure) -> None:
        """Take an input without one."""
        if self._errors is None:
            self._errors = self.beside(errors_path)
        self._errors.write(
            json_line(failure_record(lost, self.plan.info.kind, positions=self.plan.info.shard is not None))
        )

    def finish(self) -> None:  # noqa: B027 - the same
        """Write what can only be known at the end."""

    def close(self) -> None:
        """Finish the format; an older run's failures do not stay beside this run's vectors."""
        self.finish()
        for target in self._targets:  # a full disk shows here, before any file is moved into place
            target.flush()
        if self._errors is None and self.plan.path is not None:
            errors_path(self.plan.path).unlink(missing_ok=True)

    @property
    def path(self) -> Path:
        """Return where the vectors go."""
        if self.plan.path is None:
            raise UsageError("a second file cannot go to standard output", hint="give -o FILE")
        return self.plan.path

    def beside(self, name: Callable[[Path], Path]) -> Target:
        """Another file of this output."""
        return self._open(name(self.path))

    def _open(self, path: Path | str | None) -> Target:
        target = self.stack.enter_context(open_target(None if path is None else str(path)))
        self._targets.append(target)
        return target

    def stored(self, rows: VectorRows) -> npt.NDArray[np.floating]:
        """Return the rows' vectors in the type that is written, in C order."""
        return np.ascontiguousarray(rows.vectors, self.dtype)

    def description(self) -> dict[str, object]:
        """Return what says of what and by which model the vectors are."""
        return {**to_json(self.plan.info), "dtype": self.dtype.name, "rows": self.plan.rows}


class VectorsIndex:
    """Names and positions of the rows, kept on disk and in 8 bytes a row while the vectors are written."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._names: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - the stack closes it
        self._positions = array("q")
        self.longest = 0
        """Characters of the longest name."""

    def add(self, rows: VectorRows) -> None:
        """Take the rows' names, and positions if they have them."""
        for name in rows.names:
            self._names.write(dumps(name).encode("utf-8") + b"\n")
            self.longest = max(self.longest, len(name))
        if rows.positions is not None:
            self._positions.extend(rows.positions.tolist())

    def positions(self) -> Positions:
        """Return the positions of all rows; empty when there are none."""
        return np.array(self._positions, dtype="<i8")

    def names(self) -> Iterator[str]:
        """Return all names again."""
        self._names.seek(0)
        return (json.loads(line) for line in self._names)

    def json_array(self) -> Iterator[bytes]:
        """Yield all names as the pieces of one JSON array."""
        self._names.seek(0)
        opening = b"["
        for line in self._names:
            yield opening + line.rstrip(b"\n")
            opening = b",\n"
        yield b"]" if opening != b"[" else b"[]"


def json_line(record: dict[str, object]) -> bytes:
    """Return a record as one line of JSON."""
    return dumps(record).encode("utf-8") + b"\n"


def numbers(vector: npt.NDArray[np.floating]) -> Sequence[str]:
    """Return the shortest decimal texts that give the same numbers back."""
    texts: list[str] = vector.astype(str).tolist()
    return texts
