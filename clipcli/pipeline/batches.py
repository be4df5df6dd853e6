"""Rows to the model in batches, which become smaller when memory does not suffice."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from clipcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipcli.vectors import Vectors


class _Turns:
    """Who is with the model: any number at once, or one after the other."""

    def __init__(self) -> None:
        self.one_by_one = False
        self._inside = 0
        self._met = False
        self._changed = threading.Condition()

    @contextmanager
    def one(self) -> Iterator[Callable[[], bool]]:
        """A turn; what it gives tells afterwards whether nobody else's batch took memory meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: not (self.one_by_one and self._inside))
            self._inside += 1
            self._met = self._met or self._inside > 1
            alone = self.one_by_one
        try:
            yield lambda: alone or not self._met
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()


@dataclass
class Batches:
    """How many rows go to the model at once: as many as was asked, and fewer once they did not fit.

    Several threads may fill at the same time. Once memory was short, they take turns.
    """

    size: int
    unit: Literal["image", "text"]
    say: Callable[[str], None]
    _turns: _Turns = field(default_factory=_Turns, repr=False)

    def fill(self, vectors: Vectors, encode: Callable[[slice], Vectors], device: str) -> None:
        """Encode all rows; batches that were halved on the way stay so for the rest of the run.

        Args:
            vectors: (n, dim), where the results go. It is there before the model takes what memory there is.
            encode: a slice of the rows → (rows of the slice, dim).
            device: whose memory it is, for the message.

        Raises:
            DeviceError: not even one row fits.
        """
        start = 0
        while start < len(vectors):
            some = slice(start, min(start + self.size, len(vectors)))
            with self._turns.one() as was_alone:
                try:
                    vectors[some] = encode(some)
                    start = some.stop
                    continue
                except MemoryError as error:
                    short = error
            if was_alone():
                self._halve(some.stop - start, device, short)
            self._turns.one_by_one = True  # the same once more, without the others' batches beside it

    def _halve(self, rows: int, device: str, error: MemoryError) -> None:
        if rows == 1:  # the size stays one: another batch may be on its way already
            raise DeviceError(
                f"one {self.unit} does not fit into the memory of {device}", hint="a smaller model, or --device cpu"
            ) from error
        if rows // 2 < self.size:
            self.size = rows // 2
            self.say(f"out of memory: batches of {self.size} {self.unit}s from here on")
