"""What became of some consecutive inputs, on its way to a writer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipcli.vectorfiles.info import Failure, VectorRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.vectorfiles.writer import VectorsWriter
    from clipcli.vectors import Vector


@dataclass(frozen=True)
class Chunk:
    """What became of some consecutive inputs."""

    rows: VectorRows
    """With positions."""
    failures: Sequence[Failure] = ()


@dataclass
class Collector:
    """Results of single inputs, until they are enough for a chunk."""

    dim: int
    _names: list[str] = field(default_factory=list)
    _vectors: list[Vector] = field(default_factory=list)
    _positions: list[int] = field(default_factory=list)
    _failures: list[Failure] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._names) + len(self._failures)

    def add(self, name: str, vector: Vector | None, position: int, lost: Failure | None = None) -> None:
        """Take an input: with a vector, (dim,), or with the reason why there is none."""
        if lost is not None:
            self._failures.append(lost)
        elif vector is not None:
            self._names.append(name)
            self._vectors.append(vector)
            self._positions.append(position)

    def chunk(self) -> Chunk:
        """Everything so far."""
        vectors = np.stack(self._vectors) if self._vectors else np.zeros((0, self.dim), np.float32)
        return Chunk(VectorRows(self._names, vectors, np.array(self._positions, np.int64)), self._failures)

    def take(self) -> Chunk:
        """Everything so far, and begin anew."""
        chunk = self.chunk()
        self._names, self._vectors, self._positions, self._failures = [], [], [], []
        return chunk


def write_chunk(writer: VectorsWriter, chunk: Chunk) -> None:
    """Write rows and failures in the order of their positions; shards alone keep the positions themselves."""
    rows, start = chunk.rows, 0
    positions = np.zeros(len(rows.names), np.int64) if rows.positions is None else rows.positions
    for lost in sorted(chunk.failures, key=lambda one: one.position):
        stop = int(np.searchsorted(positions, lost.position))
        _write_rows(writer, rows, start, stop)
        writer.fail(lost)
        start = stop
    _write_rows(writer, rows, start, len(rows.names))


def _write_rows(writer: VectorsWriter, rows: VectorRows, start: int, stop: int) -> None:
    if start < stop:
        keep = writer.plan.info.shard is not None and rows.positions is not None
        positions = rows.positions[start:stop] if keep and rows.positions is not None else None
        writer.write(VectorRows(rows.names[start:stop], rows.vectors[start:stop], positions))
