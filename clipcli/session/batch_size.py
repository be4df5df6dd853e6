"""The size of batches: as configured, and halved when memory runs out."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from clipcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipcli.core.vectors import Vectors


class _Turns:
    """Access of threads to the model: in parallel, or one after the other."""

    def __init__(self) -> None:
        self.one_by_one = False
        self._active = 0
        self._overlapped = False
        self._changed = threading.Condition()

    @contextmanager
    def take(self) -> Iterator[Callable[[], bool]]:
        """Wait for a turn; yield a function that returns whether no other batch took memory in the meantime."""
        with self._changed:
            self._changed.wait_for(lambda: not (self.one_by_one and self._active))
            self._active += 1
            self._overlapped = self._overlapped or self._active > 1
            alone = self.one_by_one
        try:
            yield lambda: alone or not self._overlapped
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()


@dataclass
class BatchSize:
    """The number of rows per batch: as configured, and smaller after a batch did not fit into memory.

    Several threads may encode in parallel. Once memory has run out, they take turns.
    """

    size: int
    unit: Literal["image", "text"]
    say: Callable[[str], None]
    _turns: _Turns = field(default_factory=_Turns, repr=False)

    def fill(self, vectors: Vectors, encode: Callable[[slice], Vectors], device: str) -> None:
        """Encode all rows; a batch size that was halved stays so for the rest of the run.

        Args:
            vectors: (n, dim) array for the results, allocated before the model uses memory.
            encode: slice of the rows → (rows of the slice, dim).
            device: the device whose memory is used, for the message.

        Raises:
            DeviceError: not even one row fits into memory.
        """
        start = 0
        while start < len(vectors):
            batch = slice(start, min(start + self.size, len(vectors)))
            with self._turns.take() as was_alone:
                try:
                    vectors[batch] = encode(batch)
                    start = batch.stop
                    continue
                except MemoryError as error:
                    short = error
            if was_alone():
                self._halve(batch.stop - start, device, short)
            self._turns.one_by_one = True  # repeat the batch, now without other batches in memory

    def _halve(self, rows: int, device: str, error: MemoryError) -> None:
        if rows == 1:  # the size stays 1, since another batch may already be running
            raise DeviceError(
                f"one {self.unit} does not fit into the memory of {device}", hint="use a smaller model or --device cpu"
            ) from error
        if rows // 2 < self.size:
            self.size = rows // 2
            self.say(f"out of memory: continuing with batches of {self.size} {self.unit}s")
