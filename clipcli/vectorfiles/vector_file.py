"""What every vector file offers, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from clipcli.core.console import printable
from clipcli.core.decode import DecodeError, decode, parse_json
from clipcli.core.files import is_there, open_file, own_error, read_lines
from clipcli.core.redaction import redact
from clipcli.errors import ImageError, VectorsError
from clipcli.inputs.sources.fetch import read_object
from clipcli.vectorfiles.info import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from clipcli.core.encoder import ModelInfo
    from clipcli.core.vectors import Vectors
    from clipcli.vectorfiles.info import Kind, Positions, VectorRows, VectorsInfo

LONGEST_ROW: Final = 16 << 20
"""Bytes of a line in a file of vectors: a million numbers."""
LARGEST_DESCRIPTION: Final = 64 << 20
"""Bytes of JSON that describes vectors, without their names."""
_ZERO = 1e-6
_UNIT_TOLERANCE = 0.02  # float16 numbers make a length wrong by less than 0.001


class VectorFile(ABC):
    """Names and vectors of one file. Binary formats are mapped into memory, the others are read block by block."""

    def __init__(self, path: Path | str, info: VectorsInfo, dim: int) -> None:
        self.path = path
        self.info = info
        self.dim = dim

    @property
    def fingerprint(self) -> str:
        """Return the model's; only vectors of one fingerprint can be compared."""
        return self.info.fingerprint

    @property
    def model(self) -> str:
        """Return the spec that loads the model again; empty when the file does not say."""
        return self.info.model

    @property
    def kind(self) -> Kind:
        """Return whether the rows are images or texts."""
        return self.info.kind

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """Return what each row stands for: a path as the user wrote it, or a text."""

    @property
    def positions(self) -> Positions | None:
        """Return where each row stood among the inputs of all shards; None in a file that is no shard."""
        return None

    @property
    def failures(self) -> Sequence[Failure]:
        """Return the inputs that have no vector."""
        return read_failures(self.path)

    def require_model(self, info: ModelInfo) -> None:
        """Refuse vectors that a model did not make. Raises VectorsError."""
        if self.fingerprint != info.fingerprint:
            made = self.model or f"another model ({self.fingerprint})"
            hint = f"--model {self.model}" if self.model else "name the model that made it with --model"
            raise VectorsError(f"{self.path}: its vectors are of {made}, not of {info.name}", hint=hint)
        if self.dim != info.dim:
            raise VectorsError(f"{self.path}: {self.dim} numbers a vector, {info.name} has {info.dim}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_empty(self) -> bool:
        """Return whether there is no vector at all."""
        return len(self) == 0

    @abstractmethod
    def read(self, rows: int) -> Iterator[VectorRows]:
        """Return all rows, at most `rows` at a time, unchecked."""

    def blocks(self, rows: int = 8192, *, check: bool = True) -> Iterator[tuple[int, Vectors]]:
        """(number of the first row, (≤ rows, dim) float32) for the whole file.

        Raises:
            VectorsError: damaged; or, with `check`, a row that is not finite, zero, or not of unit length as promised.
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
        """All vectors, (n, dim) float32, unchecked: mapped where the file holds them so, else read into memory."""
        whole = np.empty((len(self), self.dim), np.float32)
        for start, vectors in self.blocks(check=False):
            whole[start : start + len(vectors)] = vectors
        return whole

    def check(self, start: int, rows: VectorRows) -> None:
        """Refuse rows that would give wrong answers in silence; `start` is the number of the first.

        Raises:
            VectorsError: names the first such row.
        """
        lengths = np.linalg.norm(rows.vectors, axis=1)
        self._refuse(start, rows, ~np.isfinite(lengths), "holds a number that is not finite")
        self._refuse(start, rows, lengths < _ZERO, "is zero")
        if self.info.unit_length:
            self._refuse(start, rows, np.abs(lengths - 1) > _UNIT_TOLERANCE, "is not of unit length")

    def _refuse(self, start: int, rows: VectorRows, bad: npt.NDArray[np.bool_], why: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            raise VectorsError(
                f"{self.path}: row {start + row} ({printable(rows.names[row])}) {why}", hint="make the file again"
            )


def errors_path(path: Path) -> Path:
    """Return where the failures of a vector file stand when its format has no place for them."""
    return path.with_name(path.name + ".errors.jsonl")


def description_path(path: Path) -> Path:
    """Return where the description of a vector file stands when its format has no place for it."""
    return path.with_name(path.name + ".json")


def read_failures(path: Path | str) -> list[Failure]:
    """Return the failures beside a vector file; of a URL, far away.

    Raises:
        VectorsError: their file is damaged.
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


def failure(record: object) -> Failure:
    """Return a failure from its row `{"image": …, "error": {"stage": …, "reason": …}}`. Raises DecodeError."""
    row = decode(_FailureRow, record, unknown="ignore")
    name = row.text if row.image is None else row.image
    if name is None:
        raise DecodeError("no 'image'")
    return Failure(name, row.error.stage, row.error.reason, row.position)


def failure_record(lost: Failure, kind: Kind, *, positions: bool) -> dict[str, object]:
    """Return a failure's row; with its position in shards."""
    where = {"position": lost.position} if positions else {}
    return {kind: lost.name, **where, "error": {"stage": lost.stage, "reason": lost.reason}}
