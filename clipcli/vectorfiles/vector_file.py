"""The interface of vector files of every format, and the common part of those that are mapped into memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.core.console import printable
from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.files import is_there, open_file, own_error, read_lines
from clipcli.core.redaction import redact
from clipcli.errors import ImageError, UsageError, VectorsError, did_you_mean
from clipcli.inputs.sources.fetch import read_object
from clipcli.output.rows import as_json
from clipcli.vectorfiles.info import Failure, VectorRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.core.encoder import ModelInfo
    from clipcli.core.vectors import Vectors
    from clipcli.inputs.row_filter import Condition
    from clipcli.vectorfiles.info import Kind, Positions, VectorsInfo

LONGEST_ROW: Final = 16 << 20
"""Most bytes of a line in a file of vectors: a million numbers."""
LARGEST_DESCRIPTION: Final = 64 << 20
"""Most bytes of a JSON description, without names."""
_ZERO = 1e-6
_UNIT_TOLERANCE = 0.02  # float16 changes a length by less than 0.001


class VectorFile(ABC):
    """The names and vectors of one file. Binary formats are mapped into memory, others are read block by block."""

    def __init__(self, path: Path | str, info: VectorsInfo, dim: int) -> None:
        self.path = path
        self.info = info
        self.dim = dim

    @property
    def fingerprint(self) -> str:
        """Return the model's fingerprint; only vectors with the same fingerprint can be compared."""
        return self.info.fingerprint

    @property
    def model(self) -> str:
        """Return the spec that loads the model again; empty if the file lacks it."""
        return self.info.model

    @property
    def kind(self) -> Kind:
        """Return whether the rows are images or texts."""
        return self.info.kind

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """Return the input of each row: a path as the user wrote it, or a text."""

    @property
    def positions(self) -> Positions | None:
        """Return the position of each row among the inputs of all shards; None if the file is not a shard."""
        return None

    @property
    def failures(self) -> Sequence[Failure]:
        """Return the inputs without a vector."""
        return read_failures(self.path)

    @property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the carried columns of each row; empty if there are none."""
        return ()

    def field_blocks(
        self,
        columns: Sequence[str],  # noqa: ARG002 - for formats that can read some columns alone
        rows: int = 8192,
    ) -> Iterator[Sequence[Mapping[str, object]]]:
        """Yield the carried columns of all rows in order; at least those of `columns`. Raises VectorsError."""
        fields = self.fields
        for start in range(0, len(fields), rows):
            yield fields[start : start + rows]

    @property
    def column_names(self) -> list[str]:
        """Return the names of the carried columns."""
        return [column.name for column in self.info.columns]

    def rows_where(self, condition: Condition) -> npt.NDArray[np.bool_]:
        """Return for each row whether a condition on the carried columns holds.

        Raises:
            UsageError: the condition names a column that the file does not carry.
            VectorsError: the columns are damaged.
        """
        row_filter = condition.bind(self.column_names)
        blocks = self.field_blocks(row_filter.columns) if row_filter.columns else _no_fields(len(self))
        held = [holds for block in blocks for holds in row_filter.takes_each(block)]
        return np.array(held, np.bool_)

    def require_columns(self, option: str, names: Sequence[str]) -> None:
        """Refuse columns that the file does not carry. Raises UsageError, which names the option."""
        carried = self.column_names
        if lost := next((name for name in names if name not in carried), None):
            listed = "its columns are " + ", ".join(carried)
            hint = did_you_mean(lost, carried) or (listed if carried else "carry columns with clipcli embed --keep")
            raise UsageError(f"{option}: {redact(str(self.path))} has no column {lost}", hint=hint)

    def require_model(self, info: ModelInfo) -> None:
        """Refuse vectors of another model. Raises VectorsError."""
        if self.fingerprint != info.fingerprint:
            model_name = self.model or f"another model ({self.fingerprint})"
            hint = f"--model {self.model}" if self.model else "name the model of the file with --model"
            raise VectorsError(f"{self.path}: its vectors are of {model_name}, not of {info.name}", hint=hint)
        if self.dim != info.dim:
            raise VectorsError(f"{self.path}: {self.dim} numbers per vector, but {info.name} has {info.dim}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_empty(self) -> bool:
        """Return whether there is no vector."""
        return len(self) == 0

    @abstractmethod
    def read(self, rows: int, *, fields: bool = False) -> Iterator[VectorRows]:
        """Yield all rows, at most `rows` at a time, unchecked; with the carried columns if `fields`."""

    def blocks(self, rows: int = 8192, *, check: bool = True) -> Iterator[tuple[int, Vectors]]:
        """Yield the number of the first row and (≤ rows, dim) float32 vectors, for the whole file.

        Raises:
            VectorsError: the file is damaged; or, with `check`, a row is not finite, is zero, or lacks unit length.
        """
        start = 0
        reader = self.read(rows)
        while True:
            with own_error(VectorsError, str(self.path)):
                block = next(reader, None)
            if block is None:
                return
            if check:
                self.check(start, block)
            yield start, block.vectors
            start += len(block.names)

    def matrix(self) -> Vectors:
        """Return all vectors as (n, dim) float32, unchecked: mapped if the format allows it, else read into memory."""
        matrix = np.empty((len(self), self.dim), np.float32)
        for start, vectors in self.blocks(check=False):
            matrix[start : start + len(vectors)] = vectors
        return matrix

    def check(self, start: int, rows: VectorRows) -> None:
        """Refuse rows that would silently give wrong results; `start` is the number of the first row.

        Raises:
            VectorsError: names the first such row.
        """
        lengths = np.sqrt(np.einsum("ij,ij->i", rows.vectors, rows.vectors))  # np.linalg.norm makes a copy
        self._refuse(start, rows, ~np.isfinite(lengths), "holds a number that is not finite")
        self._refuse(start, rows, lengths < _ZERO, "is zero")
        if self.info.unit_length:
            self._refuse(start, rows, np.abs(lengths - 1) > _UNIT_TOLERANCE, "is not of unit length")

    def _refuse(self, start: int, rows: VectorRows, bad: npt.NDArray[np.bool_], problem: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            raise VectorsError(
                f"{self.path}: row {start + row} ({printable(rows.names[row])}) {problem}", hint="make the file again"
            )


def _no_fields(rows: int, step: int = 8192) -> Iterator[Sequence[Mapping[str, object]]]:
    return ([{}] * min(step, rows - start) for start in range(0, rows, step))


class MappedFile(VectorFile):
    """A file that holds the vectors as one array, which is mapped into memory."""

    path: Path
    vectors: npt.NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.vectors)

    def read(self, rows: int, *, fields: bool = False) -> Iterator[VectorRows]:
        """Yield slices of the mapped array."""
        names, positions = self.names, self.positions
        carried = self.fields if fields and self.info.columns else None
        for start in range(0, len(self), rows):
            part = slice(start, start + rows)
            vectors = np.asarray(self.vectors[part], dtype=np.float32)
            yield VectorRows(
                names[part], vectors, None if positions is None else positions[part],
                None if carried is None else carried[part],
            )  # fmt: skip

    def matrix(self) -> Vectors:
        """Return the mapped array itself if it holds float32, else a copy."""
        return np.asarray(self.vectors, dtype=np.float32)

    def check_shape(self) -> None:
        """Check that the array has one row of floats per name.

        Raises:
            VectorsError: it is not two-dimensional or not floating point, or has more or fewer rows than names.
        """
        if self.vectors.ndim != 2 or self.vectors.dtype.kind != "f":  # noqa: PLR2004 - rows and columns
            raise VectorsError(
                f"{self.path}: not a table of floating point numbers: {self.vectors.dtype} {self.vectors.shape}"
            )
        if not self.vectors.shape[1]:
            raise VectorsError(f"{self.path}: its vectors have no numbers")
        if len(self.names) != len(self.vectors):
            raise VectorsError(f"{self.path}: {len(self.vectors)} vectors but {len(self.names)} names")


def errors_path(path: Path) -> Path:
    """Return the path of the failures of a vector file whose format cannot hold them."""
    return path.with_name(path.name + ".errors.jsonl")


def description_path(path: Path) -> Path:
    """Return the path of the description of a vector file whose format cannot hold it."""
    return path.with_name(path.name + ".json")


def read_failures(path: Path | str) -> list[Failure]:
    """Return the failures from the file beside a vector file, local or remote.

    Raises:
        VectorsError: the file is damaged.
    """
    beside = f"{path}.errors.jsonl" if isinstance(path, str) else errors_path(path)
    with own_error(VectorsError, redact(str(beside))):
        return [failure(parse_json(line)) for line in _lines(beside)]


def _lines(beside: Path | str) -> Iterator[bytes]:
    if isinstance(beside, str):
        try:
            yield from read_object(beside).splitlines()
        except ImageError as error:
            if error.reason != "no such object":
                raise VectorsError(f"{redact(beside)}: {error.reason}") from error
    elif is_there(beside):
        with open_file(beside) as stream:
            yield from read_lines(stream, LONGEST_ROW)


@dataclass(frozen=True)
class _Error:
    stage: str
    reason: str


@dataclass(frozen=True)
class _FailureRow:
    error: _Error
    image: str | None = None
    text: str | None = None
    position: int = -1


_FAILURE_KEYS: Final = frozenset(("error", "image", "text", "position"))


def failure(record: object) -> Failure:
    """Decode the row of a failure, `{"image": …, "error": {"stage": …, "reason": …}}`. Raises DecodeError."""
    row = decode(_FailureRow, record, unknown="ignore")
    name = row.text if row.image is None else row.image
    if name is None:
        raise DecodeError("no 'image'")
    assert isinstance(record, dict)  # noqa: S101 - it was decoded
    fields = {name: value for name, value in record.items() if name not in _FAILURE_KEYS}
    return Failure(name, row.error.stage, row.error.reason, row.position, fields)


def failure_record(lost: Failure, kind: Kind, *, positions: bool) -> dict[str, object]:
    """Return the row of a failure, with its position if `positions`."""
    position_field = {"position": lost.position} if positions else {}
    fields = {name: as_json(value) for name, value in lost.fields.items()}
    return {kind: lost.name, **position_field, **fields, "error": {"stage": lost.stage, "reason": lost.reason}}
