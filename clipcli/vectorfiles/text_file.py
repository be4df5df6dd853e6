"""The common part of JSON Lines and CSV: one line per row, failures included, and the description in a second file."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from clipcli.core.decode import parse_json
from clipcli.core.files import is_there, own_error, read_bytes
from clipcli.errors import VectorsError
from clipcli.vectorfiles.columns import Restorer
from clipcli.vectorfiles.info import Failure, VectorRows, VectorsInfo, from_json
from clipcli.vectorfiles.vector_file import LARGEST_DESCRIPTION, VectorFile, description_path
from clipcli.vectorfiles.writer import VectorsWriter, json_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from clipcli.core.vectors import Vector
    from clipcli.vectorfiles.info import Positions

_DIGITS = {"float32": "%.9g", "float16": "%.5g"}
"""Number formats with enough digits to restore every value exactly."""


@dataclass(frozen=True)
class Line:
    """A row of a text format."""

    name: str
    vector: Vector
    position: int | None
    fields: Mapping[str, object]
    """All other columns, as the file has them."""


class TextFile(VectorFile):
    """A text file, read again for each property that is not known yet."""

    path: Path

    def __init__(self, path: Path) -> None:
        first = next((line for line in self.lines(path) if isinstance(line, Line)), None)
        beside = description_path(path)
        info = _described(beside) if is_there(beside) else self.own_info(path)
        super().__init__(path, info, len(first.vector) if first else info.parameters.dim if info.parameters else 0)
        self._first = first

    @staticmethod
    @abstractmethod
    def lines(path: Path) -> Iterator[Line | Failure]:
        """Return the parsed rows of a file.

        Raises:
            VectorsError: a line is not in this format.
        """

    @staticmethod
    @abstractmethod
    def own_info(path: Path) -> VectorsInfo:
        """Return the description from the rows of the file itself."""

    @staticmethod
    @abstractmethod
    def restored(restorer: Restorer, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Return the carried columns of a row with the right types. Raises ValueError."""

    @cached_property
    def fields(self) -> Sequence[Mapping[str, object]]:
        """Return the carried columns of the rows with a vector."""
        if not self.info.columns:
            return ()
        return self._restored([line for line in self.lines(self.path) if isinstance(line, Line)])

    def _restored(self, lines: Sequence[Line]) -> list[Mapping[str, object]]:
        restorer = Restorer(self.info.columns)
        with own_error(VectorsError, str(self.path), what="its carried columns are damaged"):
            return [self.restored(restorer, line.fields) for line in lines]

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the names of the rows with a vector."""
        return [line.name for line in self.lines(self.path) if isinstance(line, Line)]

    @cached_property
    def positions(self) -> Positions | None:
        """Return the positions of the rows of a shard, else None."""
        if self._first is None or self._first.position is None:
            return None
        positions = [line.position for line in self.lines(self.path) if isinstance(line, Line)]
        return np.array(positions, np.int64)

    @cached_property
    def failures(self) -> Sequence[Failure]:
        """Return the rows with an error instead of a vector."""
        return [line for line in self.lines(self.path) if isinstance(line, Failure)]

    @property
    def is_empty(self) -> bool:
        """Return whether there is no row with a vector."""
        return self._first is None

    def read(self, rows: int, *, fields: bool = False) -> Iterator[VectorRows]:
        """Parse and yield rows block by block."""
        good = (line for line in self.lines(self.path) if isinstance(line, Line))
        start = 0
        while block := list(islice(good, rows)):
            for number, line in enumerate(block, start):
                if len(line.vector) != self.dim:
                    raise VectorsError(
                        f"{self.path}: row {number} has {len(line.vector)} numbers, the first {self.dim}"
                    )
            start += len(block)
            positions = None
            if block[0].position is not None:
                positions = np.array([line.position for line in block], np.int64)
            carried = self._restored(block) if fields and self.info.columns else None
            vectors = np.stack([line.vector for line in block])
            yield VectorRows([line.name for line in block], vectors, positions, carried)


class TextWriter(VectorsWriter):
    """Writes one line per row immediately; with stdout there is no second file."""

    def start(self) -> None:
        """Write the description, unless the output is stdout."""
        self._digits = ",".join([_DIGITS[self.plan.dtype]] * self.plan.dim)
        if self.plan.path is not None:
            self.beside(description_path).write(json_line(self.description()))

    def write(self, rows: VectorRows) -> None:
        """Write one line per row."""
        vectors = self.stored(rows).tolist()
        positions = [None] * len(vectors) if rows.positions is None else rows.positions.tolist()
        carried = rows.fields if rows.fields is not None else [{}] * len(vectors)
        for name, vector, position, fields in zip(rows.names, vectors, positions, carried, strict=True):
            self.target.write(self.line(name, position, fields, self._digits % tuple(vector)))
        self.target.flush()

    @abstractmethod
    def line(self, name: str, position: int | None, fields: Mapping[str, object], numbers: str) -> bytes:
        """Return one row; `numbers` is separated by commas."""


def _described(beside: Path) -> VectorsInfo:
    with own_error(VectorsError, str(beside)):
        return from_json(parse_json(read_bytes(beside, LARGEST_DESCRIPTION)), str(beside))
