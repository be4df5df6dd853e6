"""Rows to the model in batches, which become smaller when memory does not suffice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clipcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.vectors import Vectors


@dataclass
class Batches:
    """How many rows go to the model at once: as many as was asked, and fewer once they did not fit."""

    size: int
    unit: Literal["image", "text"]
    say: Callable[[str], None]

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
            try:
                vectors[some] = encode(some)
                start = some.stop
            except MemoryError as error:
                if some.stop - start == 1:  # the size stays one: another batch may be on its way already
                    raise DeviceError(
                        f"one {self.unit} does not fit into the memory of {device}",
                        hint="a smaller model, or --device cpu",
                    ) from error
                self.size = (some.stop - start) // 2
                self.say(f"out of memory: batches of {self.size} {self.unit}s from here on")
