"""Encode images and texts in batches, which become smaller when memory runs out."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

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
"""Most characters of a text in a message."""
_Rows = TypeVar("_Rows")


@dataclass
class TruncationWarning:
    """Warns once per run that texts are cut, and names the first of them."""

    say: Callable[[str], None]
    _warned: bool = False

    def check(self, encoder: Encoder, texts: Sequence[str]) -> None:
        """Warn if a text has more tokens than the model reads."""
        if self._warned:
            return
        limit = encoder.info.context_length
        # A token has at least one byte, so short texts need no counting.
        candidates = [text for text in texts if len(text.encode("utf-8", "replace")) > limit - 2]
        long = [text for text, count in zip(candidates, encoder.count_tokens(candidates), strict=True) if count > limit]
        if long:
            self._warned = True
            excerpt = long[0] if len(long[0]) <= _SHOWN else f"{long[0][: _SHOWN - 3]}…"
            ending = f", and {len(long) - 1} more so far" if len(long) > 1 else ""
            self.say(f"longer than the model's {limit} tokens, cut there: {excerpt!r}{ending}")


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

    def encode(self, count: int, encode: Callable[[slice], _Rows], device: str) -> Iterator[tuple[slice, _Rows]]:
        """Encode rows 0 to `count` in batches; a size that was halved stays so for the rest of the run.

        Args:
            count: number of rows.
            encode: encodes the rows of a slice.
            device: the device whose memory is used, for the message.

        Yields:
            The slice of each batch and its result, in order.

        Raises:
            DeviceError: not even one row fits into memory.
        """
        start = 0
        while start < count:
            batch = slice(start, min(start + self.size, count))
            with self._turns.take() as was_alone:
                try:
                    result = encode(batch)
                except MemoryError as error:
                    shortage = error
                else:
                    start = batch.stop
            if start == batch.stop:
                yield batch, result
                continue
            if was_alone():
                self._halve(batch.stop - start, device, shortage)
            del shortage  # its traceback holds the batch
            self._turns.one_by_one = True  # repeat the batch, now without other batches in memory

    def fill(self, vectors: Vectors, encode: Callable[[slice], Vectors], device: str) -> None:
        """Encode all rows into `vectors`, an (n, dim) array that is allocated before the model uses memory.

        Raises:
            DeviceError: as `encode`.
        """
        for batch, rows in self.encode(len(vectors), encode, device):
            vectors[batch] = rows

    def _halve(self, rows: int, device: str, error: MemoryError) -> None:
        if rows == 1:  # the size stays 1, since another batch may already be running
            raise DeviceError(
                f"one {self.unit} does not fit into the memory of {device}", hint="use a smaller model or --device cpu"
            ) from error
        if rows // 2 < self.size:
            self.size = rows // 2
            self.say(f"out of memory: continuing with batches of {self.size} {self.unit}s")


@dataclass
class BatchEncoder:
    """Encodes any number of images or texts, in batches that become smaller when memory runs out."""

    model: Model
    timings: Timings
    console: Console
    batch_size: int | None = None
    """Images per batch; None chooses by device."""
    raw: bool = False
    """Whether vectors keep the tower's length instead of unit length."""

    @cached_property
    def images(self) -> BatchSize:
        """Return the batch size of images."""
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
        """Return the number of batches that the model encodes in parallel; this loads the model."""
        return self.model.encoder.image_lanes

    @property
    def row_multiple(self) -> int:
        """Return the smallest batch that the engine computes without padding."""
        return 1 if self.model.runs_on_gpu else image_rows(self.model.precision)

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Encode (n, 3, height, width) float32 pixels as (n, dim) float32; check rows with `fault_of`.

        Raises:
            DeviceError: not even one image fits into memory.
        """
        vectors = np.empty((len(pixels), self.model.info.dim), np.float32)

        def encode(batch: slice) -> Vectors:
            return self._features.vectors(lambda encoder, rows: encoder.encode_images(pixels[batch][rows]))

        self.images.fill(vectors, encode, self.model.encoder.device)
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts as (n, dim) float32, in the order given; all vectors are in memory.

        A batch is padded to its longest text, so texts are batched by length.

        Raises:
            DeviceError: not even one text fits into memory.
        """
        encoder = self.model.encoder
        self._truncation.check(encoder, texts)
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

        running, threads = deque[Future[None]](), ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="model")
        try:
            for start in range(0, len(texts), TEXT_BATCH):
                while len(running) >= encoder.text_lanes:  # more lanes, once the engine has prepared for many texts
                    running.popleft().result()
                running.append(threads.submit(encode, start))
            for batch in running:
                batch.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        vectors[order] = rows
        return vectors
