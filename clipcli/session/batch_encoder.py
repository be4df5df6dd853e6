"""Rows to the model in batches, which become smaller when memory does not suffice."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from clipcli.core.batch_invariance import image_rows
from clipcli.errors import DeviceError
from clipcli.session.features import Features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.core.encoder import Encoder
    from clipcli.core.vectors import Pixels, Vectors
    from clipcli.models.model import Model
    from clipcli.session.prepare import Timings

GPU_BATCH = 128
TEXT_BATCH = 128
_MOST_THREADS = 64
_SHOWN = 60
"""Characters of a text that fit into a line."""


@dataclass
class TruncationWarning:
    """Says once a run that texts are cut, with the first of them."""

    say: Callable[[str], None]
    _said: bool = False

    def look_for(self, encoder: Encoder, texts: Sequence[str]) -> None:
        """Count tokens where a text may have too many."""
        if self._said:
            return
        limit = encoder.info.context_length
        # A token is at least one byte, so that short texts need no counting.
        candidates = [text for text in texts if len(text.encode("utf-8", "replace")) > limit - 2]
        long = [text for text, count in zip(candidates, encoder.count_tokens(candidates), strict=True) if count > limit]
        if long:
            self._said = True
            shown = long[0] if len(long[0]) <= _SHOWN else f"{long[0][: _SHOWN - 3]}…"
            more = f", and {len(long) - 1} more so far" if len(long) > 1 else ""
            self.say(f"longer than the model's {limit} tokens, cut there: {shown!r}{more}")


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
class BatchSize:
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
            batch = slice(start, min(start + self.size, len(vectors)))
            with self._turns.one() as was_alone:
                try:
                    vectors[batch] = encode(batch)
                    start = batch.stop
                    continue
                except MemoryError as error:
                    short = error
            if was_alone():
                self._halve(batch.stop - start, device, short)
            self._turns.one_by_one = True  # the same once more, without the others' batches beside it

    def _halve(self, rows: int, device: str, error: MemoryError) -> None:
        if rows == 1:  # the size stays one: another batch may be on its way already
            raise DeviceError(
                f"one {self.unit} does not fit into the memory of {device}", hint="a smaller model, or --device cpu"
            ) from error
        if rows // 2 < self.size:
            self.size = rows // 2
            self.say(f"out of memory: batches of {self.size} {self.unit}s from here on")


@dataclass
class BatchEncoder:
    """A model that takes any number of images or texts, in batches that become smaller when memory does not suffice."""

    model: Model
    timings: Timings
    console: Console
    batch_size: int | None = None
    """Images in a batch; None chooses by device."""
    raw: bool = False
    """Whether vectors keep the length that the tower gave them."""

    @cached_property
    def images(self) -> BatchSize:
        """Return how many images go to the model at once."""
        chosen = self.batch_size or (GPU_BATCH if self.model.runs_on_gpu else image_rows(self.model.precision))
        return BatchSize(chosen, "image", self.console.info)

    @cached_property
    def _texts(self) -> BatchSize:
        return BatchSize(TEXT_BATCH, "text", self.console.info)

    @cached_property
    def _truncation(self) -> TruncationWarning:
        return TruncationWarning(self.console.warning)

    @cached_property
    def _features(self) -> Features:
        return Features(self.model, self.raw, self.console)

    @property
    def lanes(self) -> int:
        """Batches that the model takes side by side; asking loads it."""
        return self.model.encoder.image_lanes

    @property
    def least(self) -> int:
        """Images that take the model as long as fewer of them."""
        return 1 if self.model.runs_on_gpu else image_rows(self.model.precision)

    def encode_images(self, pixels: Pixels) -> Vectors:
        """(n, 3, height, width) float32 → (n, dim) float32; a row that `fault_of` refuses is no vector.

        Raises:
            DeviceError: not even one image fits into memory.
        """
        vectors = np.empty((len(pixels), self.model.info.dim), np.float32)

        def encode(batch: slice) -> Vectors:
            return self._features.vectors(lambda encoder, rows: encoder.encode_images(pixels[batch][rows]))

        self.images.fill(vectors, encode, self.model.encoder.device)
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts → float32 (n, dim), in the order given; all vectors are in memory together.

        A batch is as long as its longest text, so texts of the same length go together.

        Raises:
            DeviceError: not even one text fits into memory.
        """
        encoder = self.model.encoder
        self._truncation.look_for(encoder, texts)
        order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), texts[index]))
        rows, vectors = np.empty((2, len(texts), encoder.info.dim), np.float32)

        def encode(start: int) -> None:
            part = np.array(order[start : start + TEXT_BATCH])

            def encode_batch(batch: slice) -> Vectors:
                return self._features.vectors(
                    lambda model, rows: model.encode_texts([texts[index] for index in part[batch][rows]])
                )

            with self.timings.measure("model"):
                self._texts.fill(rows[start : start + TEXT_BATCH], encode_batch, encoder.device)

        begun, threads = deque[Future[None]](), ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="model")
        try:
            for start in range(0, len(texts), TEXT_BATCH):
                while len(begun) >= encoder.text_lanes:  # more, once the model knows that there is much to do
                    begun.popleft().result()
                begun.append(threads.submit(encode, start))
            for batch in begun:
                batch.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        vectors[order] = rows
        return vectors
