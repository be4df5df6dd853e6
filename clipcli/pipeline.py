"""Images to vectors in input order: a feeder looks ahead, threads read and decode, full batches go to the model."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from clipcli import images
from clipcli.errors import ImageError
from clipcli.preprocess import to_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt

    from clipcli.cache import EmbeddingCache, NoCache
    from clipcli.encoder import Preprocessing
    from clipcli.inputs import ImageRef
    from clipcli.vectors import Pixels, Vector, Vectors

_PATIENCE_SECONDS = 0.25
"""How long a part of a batch waits for more when the list of images comes slowly."""


@dataclass
class Timings:
    """Seconds spent in each step, summed over threads, and how many images came from the cache."""

    read: float = 0.0
    decode: float = 0.0
    model: float = 0.0
    encoded: int = 0
    cached: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def measure(self, step: Literal["read", "decode", "model"]) -> Iterator[None]:
        """Add the block's seconds to a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                setattr(self, step, getattr(self, step) + seconds)

    def count(self, *, encoded: int, cached: int) -> None:
        """Add what went through the model and what needed not to."""
        with self._lock:
            self.encoded += encoded
            self.cached += cached


@dataclass(frozen=True)
class Embedded:
    """What became of one image: a unit vector (dim,), or an error."""

    ref: ImageRef
    vector: Vector | None
    error: ImageError | None
    digest: str = ""
    """The sha256 (hex) of the file's bytes; empty when it could not be read."""


@dataclass(frozen=True)
class _Decoded:
    digest: str
    pixels: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Known:
    digest: str
    vector: Vector


_Prepared: TypeAlias = "_Decoded | _Known | ImageError"


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


_Item: TypeAlias = "tuple[ImageRef, Future[_Prepared]] | _End"


@dataclass(frozen=True)
class ImagePipeline:
    """Everything between a path and a unit vector."""

    how: Preprocessing
    space: str
    cache: EmbeddingCache | NoCache
    encode: Callable[[Pixels], Vectors]
    """(n, 3, height, width) → (n, dim), unit length."""
    workers: int
    orient: bool
    max_pixels: int | None
    timings: Timings

    def run(self, refs: Iterable[ImageRef], batch_size: int) -> Iterator[Embedded]:
        """Results in input order. At most three batches are in memory, whatever the number of images."""
        ahead: queue.Queue[_Item] = queue.Queue(maxsize=2 * batch_size + self.workers)
        stopped = threading.Event()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        feeder = threading.Thread(target=self._feed, args=(refs, pool, ahead, stopped), daemon=True, name="feed")
        feeder.start()
        try:
            yield from self._drain(ahead, batch_size)
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _feed(
        self, refs: Iterable[ImageRef], pool: ThreadPoolExecutor, ahead: queue.Queue[_Item], stopped: threading.Event
    ) -> None:
        """Hand work to the threads in input order, as far ahead as the queue allows."""
        end = _End()
        try:
            for ref in refs:
                if not _offer(ahead, (ref, pool.submit(self._prepare, ref)), stopped):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that reads the queue
            end = _End(error)
        _offer(ahead, end, stopped)

    def _drain(self, ahead: queue.Queue[_Item], batch_size: int) -> Iterator[Embedded]:
        waiting: list[tuple[ImageRef, _Prepared]] = []
        decoded: set[str] = set()
        while True:
            try:
                item = ahead.get(timeout=_PATIENCE_SECONDS) if waiting else ahead.get()
            except queue.Empty:
                item = None
            if isinstance(item, tuple):
                ref, future = item
                prepared = future.result()
                waiting.append((ref, prepared))
                if isinstance(prepared, _Decoded):
                    decoded.add(prepared.digest)
                if decoded and len(decoded) < batch_size:
                    continue
            yield from self._finish(waiting)
            waiting, decoded = [], set()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return

    def _finish(self, waiting: list[tuple[ImageRef, _Prepared]]) -> Iterator[Embedded]:
        """Encode what is decoded (each content once) and give everything out in order."""
        fresh = {prepared.digest: prepared.pixels for _, prepared in waiting if isinstance(prepared, _Decoded)}
        vectors: dict[str, Vector] = {}
        if fresh:
            with self.timings.measure("model"):
                vectors = dict(zip(fresh, self.encode(np.stack(list(fresh.values()))), strict=True))
            self.cache.put(self.space, list(vectors.items()))
            self.timings.encoded += len(fresh)
        for ref, prepared in waiting:
            if isinstance(prepared, ImageError):
                yield Embedded(ref, None, prepared)
            elif isinstance(prepared, _Known):
                self.timings.cached += 1
                yield Embedded(ref, prepared.vector, None, prepared.digest)
            else:
                yield Embedded(ref, vectors[prepared.digest], None, prepared.digest)

    def _prepare(self, ref: ImageRef) -> _Prepared:
        """In a thread: from the cache if the file is known there, else read and decoded."""
        try:
            if ref.problem is not None:
                return ImageError("read", ref.problem)
            before = _stat(ref.path)
            known = self.cache.known_digest(ref.path, before) if before else None
            if known is not None and (vector := self.cache.get(self.space, [known])[0]) is not None:
                return _Known(known, vector)
            with self.timings.measure("read"):
                data = images.read(ref.path)
                digest = hashlib.sha256(data).hexdigest()
            if before is not None and _same(before, _stat(ref.path)):
                self.cache.remember_digest(ref.path, before, digest)
            if (vector := self.cache.get(self.space, [digest])[0]) is not None:
                return _Known(digest, vector)
            with self.timings.measure("decode"):
                return _Decoded(digest, self._pixels(data))
        except ImageError as error:
            return error

    def _pixels(self, data: bytes) -> npt.NDArray[np.float32]:
        limit = images.DEFAULT_MAX_PIXELS if self.max_pixels is None else self.max_pixels
        return to_pixels(images.decode(data, orient=self.orient, max_pixels=limit), self.how)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - paths are strings here, any bytes included
    except (OSError, ValueError):
        return None


def _same(before: os.stat_result, after: os.stat_result | None) -> bool:
    """Whether a file was left alone while it was read."""
    return after is not None and (before.st_ino, before.st_size, before.st_mtime_ns) == (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    )


def _offer(ahead: queue.Queue[_Item], item: _Item, stopped: threading.Event) -> bool:
    """Put an item as soon as there is room; False when nobody wants it any more."""
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            ahead.put(item, timeout=_PATIENCE_SECONDS)
            return True
    return False
