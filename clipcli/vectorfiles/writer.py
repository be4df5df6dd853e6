"""Writers of vector files: the interface and the common part of all formats, and files that are uploaded to a URL."""

from __future__ import annotations

import hashlib
import json
import tempfile
from abc import ABC, abstractmethod
from array import array
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from clipcli.cache import cache_folder
from clipcli.core.files import is_there, make_private_folder
from clipcli.core.redaction import redact_url
from clipcli.errors import OutputError, UsageError
from clipcli.inputs.sources.filesystems import delete, upload
from clipcli.output.rows import dumps
from clipcli.output.targets import Target, open_target
from clipcli.vectorfiles.columns import plain_fields
from clipcli.vectorfiles.info import to_json
from clipcli.vectorfiles.vector_file import description_path, errors_path, failure_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.vectorfiles.info import Failure, Positions, VectorDtype, VectorRows, VectorsInfo


@dataclass(frozen=True)
class WritePlan:
    """The target and the description of the vectors to write."""

    path: Path | None
    """The file; None is stdout, for formats that can be streamed, without a second file."""
    info: VectorsInfo
    rows: int
    """Number of rows with a vector."""
    dim: int
    dtype: VectorDtype = "float32"
    pipe: str | None = None
    """A pipe to write to in place of stdout."""


class VectorsWriter(ABC):
    """Writes rows and failures in the order of the inputs; complete files appear when `stack` exits without error."""

    def __init__(self, plan: WritePlan, stack: ExitStack) -> None:
        self.plan = plan
        self.stack = stack
        self.dtype = np.dtype(plan.dtype).newbyteorder("<")
        self._targets: list[Target] = []
        self.target = self._open(plan.path or plan.pipe)
        self._errors: Target | None = None
        self.start()

    def start(self) -> None:  # noqa: B027 - not every format has something to write
        """Write the part of the format before the first row."""

    @abstractmethod
    def write(self, rows: VectorRows) -> None:
        """Write rows with a vector."""

    def fail(self, lost: Failure) -> None:
        """Write an input without a vector."""
        if self._errors is None:
            self._errors = self.beside(errors_path)
        self._errors.write(
            json_line(failure_record(lost, self.plan.info.kind, positions=self.plan.info.shard is not None))
        )

    def finish(self) -> None:  # noqa: B027 - the same
        """Write the part of the format after the last row."""

    def close(self) -> None:
        """Finish the files, and delete the failures of an earlier run."""
        self.finish()
        for target in self._targets:  # a full disk is noticed here, before any file is moved to its name
            target.flush()
        if self._errors is None and self.plan.path is not None:
            errors_path(self.plan.path).unlink(missing_ok=True)

    @property
    def path(self) -> Path:
        """Return the file of the vectors. Raises UsageError for stdout."""
        if self.plan.path is None:
            raise UsageError("a second file cannot go to standard output", hint="give -o FILE")
        return self.plan.path

    def beside(self, name: Callable[[Path], Path]) -> Target:
        """Open another file of this output."""
        return self._open(name(self.path))

    def _open(self, path: Path | str | None) -> Target:
        target = self.stack.enter_context(open_target(None if path is None else str(path)))
        self._targets.append(target)
        return target

    def stored(self, rows: VectorRows) -> npt.NDArray[np.floating]:
        """Return the vectors in the type of the file, in C order."""
        return np.ascontiguousarray(rows.vectors, self.dtype)

    def description(self) -> dict[str, object]:
        """Return the description to write: kind, model, settings, type and number of rows."""
        return {**to_json(self.plan.info), "dtype": self.dtype.name, "rows": self.plan.rows}


class VectorsIndex:
    """Names and positions of the rows; names are kept on disk, positions take 8 bytes per row in memory."""

    def __init__(self, stack: ExitStack, folder: Path, *, fields: bool) -> None:
        """Begin; with `fields`, the carried columns are kept too, on disk."""
        self._names = _JsonArray(stack, folder)
        self._fields = _JsonArray(stack, folder) if fields else None
        self._positions = array("q")
        self.longest = 0
        """Number of characters of the longest name."""

    def add(self, rows: VectorRows) -> None:
        """Add the names of rows, and their positions if they have any."""
        for name in rows.names:
            self._names.add(name)
            self.longest = max(self.longest, len(name))
        if self._fields is not None:
            for fields in rows.fields if rows.fields is not None else [{}] * len(rows.names):
                self._fields.add(plain_fields(fields))
        if rows.positions is not None:
            self._positions.extend(rows.positions.tolist())

    def positions(self) -> Positions:
        """Return the positions of all rows; empty if there are none."""
        return np.array(self._positions, dtype="<i8")

    def names(self) -> Iterator[str]:
        """Return all names."""
        return (json.loads(line) for line in self._names.lines())

    def names_array(self) -> Iterator[bytes]:
        """Yield all names as the pieces of one JSON array."""
        return self._names.pieces()

    def fields_array(self) -> Iterator[bytes]:
        """Yield the carried columns as the pieces of a JSON array of objects; nothing without any."""
        return iter(()) if self._fields is None else self._fields.pieces()


class _JsonArray:
    """Values as JSON, one per line, in a temporary file."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - the stack closes it

    def add(self, value: object) -> None:
        self._file.write(dumps(value).encode("utf-8") + b"\n")

    def lines(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(self._file)

    def pieces(self) -> Iterator[bytes]:
        opening = b"["
        for line in self.lines():
            yield opening + line.rstrip(b"\n")
            opening = b",\n"
        yield b"]" if opening != b"[" else b"[]"


def json_line(record: dict[str, object]) -> bytes:
    """Return a record as one line of JSON."""
    return dumps(record).encode("utf-8") + b"\n"


def numbers(vector: npt.NDArray[np.floating]) -> Sequence[str]:
    """Return the shortest decimal texts that restore the same numbers."""
    texts: list[str] = vector.astype(str).tolist()
    return texts


def staging_path(url: str) -> Path:
    """Return the local path for the file of a URL; the same in every run on this machine.

    Raises:
        OutputError: the folder cannot be made.
    """
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    folder = cache_folder() / "outputs" / digest
    try:
        make_private_folder(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {(error.strerror or str(error)).lower()}") from error
    return folder / redact_url(url).rpartition("/")[2]


def upload_vectors(path: Path, url: str, *, hint: str | None = None) -> None:
    """Upload a vector file and its companion files, the vector file last, and delete them locally.

    Raises:
        OutputError: the URL cannot be written; the error has the hint, and the local files stay.
    """
    description, errors = description_path(path), errors_path(path)
    files = [file for file in (description, errors, path) if is_there(file)]
    try:
        for file in files:
            upload(file, url + file.name.removeprefix(path.name))
    except OutputError as error:
        raise OutputError(error.message, hint=hint) from error
    if errors not in files:
        delete(url + errors.name.removeprefix(path.name))
    for file in files:
        file.unlink()


def remove_staging_folder(path: Path) -> None:
    """Delete the local folder if it is empty."""
    with suppress(OSError):
        path.parent.rmdir()
