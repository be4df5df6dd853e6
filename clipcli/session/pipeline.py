"""The pipeline of threads and queues: decode the next images while the model encodes and results are written.

Batches are formed dynamically: worker threads encode the next batch of queued images whenever they are idle.
"""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias
from weakref import WeakSet

import numpy as np

from clipcli import images
from clipcli.errors import ImageError
from clipcli.inputs.sources.filesystems import give_up_when
from clipcli.session.features import vectors_or_faults
from clipcli.session.prepare import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt

    from clipcli.core.vectors import Pixels, Vector, Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.session.prepare import Preparation, Prepared

    Encode = Callable[[list[str], Pixels], list[Vector | ImageError]]
    """Digests and their pixels (n, 3, height, width) → their vectors, or why they have none."""

_PATIENCE_SECONDS = 0.25
"""Time that a partial batch waits for more images when the list of images arrives slowly."""
_HELD_BACK = 8
"""Most batches of results that wait for an earlier image whose batch is not full yet."""
_FETCHED_AT_ONCE = 16
"""Parallel requests; threads that wait for a network need no core."""
_BATCH_TIMEOUT_SECONDS = 0.02
"""Time that idle workers wait for full batches before they share the queued images."""
_BATCHERS: WeakSet[Batcher] = WeakSet()


@dataclass(frozen=True)
class Embedded:
    """The result of one image: a (dim,) vector, or an error."""

    ref: ImageRef
    vector: Vector | None
    error: ImageError | None
    digest: str = ""
    """The SHA-256 (hex) of the file's bytes; empty if it could not be read."""


class _Pending(NamedTuple):
    """An image with its present or future result."""

    ref: ImageRef
    outcome: Future[Vector | ImageError] | Vector | ImageError
    digest: str = ""

    @property
    def is_done(self) -> bool:
        return not isinstance(self.outcome, Future) or self.outcome.done()

    def result(self) -> Embedded:
        """Wait for the result; raise the model's exception."""
        outcome = self.outcome.result() if isinstance(self.outcome, Future) else self.outcome
        if isinstance(outcome, ImageError):
            return Embedded(self.ref, None, outcome)
        return Embedded(self.ref, outcome, None, self.digest)


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


class _Finished:
    """A message that a batch has been encoded."""


_Item: TypeAlias = "tuple[ImageRef, Future[Prepared]] | _Finished | _End"


class PixelEncoder(Protocol):
    """The interface of `clipcli.session.batches.BatchEncoder`."""

    @property
    def lanes(self) -> int:
        """Return the number of batches to encode in parallel; called when there is work."""
        ...

    @property
    def row_multiple(self) -> int:
        """Return the smallest batch that the engine computes without padding."""
        ...

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Encode (n, 3, height, width) pixels as (n, dim) vectors; check rows with `fault_of`."""
        ...


@atexit.register
def _stop_workers() -> None:
    """Stop the workers before the interpreter shuts down: a thread inside native code would crash the process.

    Threads of an executor are joined earlier, which never returns if a run was dropped without being closed.
    """
    for batcher in list(_BATCHERS):
        batcher.close()
    for batcher in list(_BATCHERS):
        batcher.wait()


@dataclass(frozen=True)
class _Waiting:
    digest: str
    pixels: npt.NDArray[np.float32]
    vector: Future[Vector | ImageError] = field(default_factory=Future)


class Batcher:
    """A queue of images, and the worker threads that encode them in order."""

    def __init__(
        self,
        encode: Encode,
        batch_size: int,
        max_batches: Callable[[], int],
        finished: Callable[[], object],
        row_multiple: int = 1,
    ) -> None:
        """Create an empty queue; threads start with the first image.

        Args:
            encode: encodes a batch: digests and (n, 3, height, width) float32 pixels → a vector or error per image.
            batch_size: images per batch.
            max_batches: returns the number of batches to encode in parallel; it may grow, and may load the model.
            finished: called after each batch.
            row_multiple: smallest batch that the engine computes without padding.
        """
        self._encode, self._max_batches, self._finished = encode, max_batches, finished
        self._batch_size, self._row_multiple = batch_size, row_multiple
        self._threads: list[threading.Thread] = []
        self._idle = 0
        """Number of threads that are not encoding."""
        self._waiting: list[_Waiting] = []
        self._vectors: dict[str, Future[Vector | ImageError]] = {}
        """Digest → result of every image that is queued or being encoded."""
        self._is_flushing = self._closed = False
        self._changed = threading.Condition()
        _BATCHERS.add(self)

    def add(self, digest: str, pixels: npt.NDArray[np.float32]) -> Future[Vector | ImageError]:
        """Queue an image and return its future result; images with the same digest share one result."""
        thread_count = self._max_batches()
        with self._changed:
            if digest not in self._vectors:
                image = _Waiting(digest, pixels)
                self._waiting.append(image)
                self._vectors[digest] = image.vector
            vector = self._vectors[digest]
            while len(self._threads) < thread_count:
                self._start_thread()
            self._changed.notify_all()
        return vector

    def flush(self) -> None:
        """Encode the queued images without waiting for full batches."""
        with self._changed:
            self._is_flushing = bool(self._waiting)
            self._changed.notify_all()

    @property
    def has_waiting(self) -> bool:
        """Return whether images are queued."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Return whether a full batch is queued for every worker."""
        return len(self._waiting) >= max(len(self._threads), 1) * self._batch_size

    def close(self) -> None:
        """Start no further batches."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait for the running batches after `close`."""
        for thread in self._threads:
            thread.join()

    def _start_thread(self) -> None:
        self._idle += 1
        self._threads.append(threading.Thread(target=self._work, name=f"model-{len(self._threads)}", daemon=True))
        self._threads[-1].start()

    def _work(self) -> None:
        """Encode batches until the queue is closed."""
        while batch := self._next():
            try:
                vectors = self._encode([image.digest for image in batch], np.stack([image.pixels for image in batch]))
            except BaseException as error:  # noqa: BLE001 - the futures raise it again
                for image in batch:
                    image.vector.set_exception(error)
            else:
                for image, vector in zip(batch, vectors, strict=True):
                    image.vector.set_result(vector)
            with self._changed:
                self._idle += 1
                for image in batch:
                    del self._vectors[image.digest]
            self._finished()

    def _next(self) -> list[_Waiting]:
        """Wait for the next batch and return it; empty when the queue is closed."""
        with self._changed:
            while not (self._closed or self._is_time()):
                is_shared = len(self._waiting) >= self._batch_size  # enough for one batch, but not for all idle workers
                if not self._changed.wait(_BATCH_TIMEOUT_SECONDS if is_shared else None):
                    self._is_flushing = True
            share = -(-len(self._waiting) // (self._idle * self._row_multiple)) * self._row_multiple
            self._idle -= 1
            batch = [] if self._closed else self._waiting[: min(share, self._batch_size)]
            del self._waiting[: len(batch)]
            self._is_flushing = self._is_flushing and bool(self._waiting)
            return batch

    def _is_time(self) -> bool:
        """Return whether a full batch is queued for every idle worker, or the queue is being flushed."""
        return bool(self._waiting) and (self._is_flushing or len(self._waiting) >= self._idle * self._batch_size)


@dataclass(frozen=True)
class ImagePipeline:
    """The stages between a path and a vector."""

    preparation: Preparation
    encoder: PixelEncoder
    workers: int

    def run(self, refs: Iterable[ImageRef], batch_size: int) -> Iterator[Embedded]:
        """Yield results in input order; memory is bounded by a few batches more than are encoded in parallel."""
        ahead: queue.Queue[_Item] = queue.Queue(maxsize=2 * batch_size + self.workers)
        stopped = threading.Event()
        decoders = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        model = Batcher(
            self._encode, batch_size, lambda: self.encoder.lanes, lambda: _notify(ahead), self.encoder.row_multiple
        )
        fetchers = ThreadPoolExecutor(_FETCHED_AT_ONCE, "fetch", give_up_when, (stopped,))
        feed = (refs, decoders, fetchers, ahead, stopped)
        threading.Thread(target=self._feed, args=feed, daemon=True, name="feed").start()
        try:
            yield from self._drain(ahead, model, _HELD_BACK * batch_size)
        finally:
            stopped.set()
            fetchers.shutdown(wait=False, cancel_futures=True)
            decoders.shutdown(wait=False, cancel_futures=True)
            model.close()

    def _feed(
        self,
        refs: Iterable[ImageRef],
        decoders: ThreadPoolExecutor,
        fetchers: ThreadPoolExecutor,
        ahead: queue.Queue[_Item],
        stopped: threading.Event,
    ) -> None:
        """Submit images to the threads in input order, as far ahead as the queue allows."""
        end = _End()
        try:
            for ref in refs:
                is_remote = ref.source is not None and ref.source.is_remote
                fetched = fetchers.submit(images.read_ref, ref) if is_remote else None
                if not _offer(ahead, (ref, decoders.submit(self.preparation.prepare, ref, fetched)), stopped):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that reads the queue
            end = _End(error)
        _offer(ahead, end, stopped)

    def _drain(self, ahead: queue.Queue[_Item], model: Batcher, max_held: int) -> Iterator[Embedded]:
        """Yield results in order as soon as all earlier ones are done; hold back at most `max_held` results."""
        pending = deque[_Pending]()
        while True:
            item = _take(ahead, wait=not model.has_waiting)
            if isinstance(item, tuple):
                pending.append(self._submit(item[0], item[1].result(), model))
            is_over = isinstance(item, _End)
            is_held_up = len(pending) >= max_held
            if item is None or is_over or is_held_up:
                model.flush()
            while pending and (pending[0].is_done or is_over or model.is_full or len(pending) >= max_held):
                yield pending.popleft().result()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return

    def _submit(self, ref: ImageRef, prepared: Prepared, model: Batcher) -> _Pending:
        """Return the result of an image from the cache, or submit it to the model."""
        if isinstance(prepared, ImageError):
            return _Pending(ref, prepared)
        if isinstance(prepared, Known):
            self.preparation.timings.count(encoded=0, cached=1)
            return _Pending(ref, prepared.vector, prepared.digest)
        return _Pending(ref, model.add(prepared.digest, prepared.pixels), prepared.digest)

    def _encode(self, digests: list[str], pixels: Pixels) -> list[Vector | ImageError]:
        """Encode a batch in a worker thread; store it at once, so that a kill loses only running batches."""
        preparation = self.preparation
        with preparation.timings.measure("model"):
            results = vectors_or_faults(self.encoder.encode_images(pixels))
        good = [
            (digest, result)
            for digest, result in zip(digests, results, strict=True)
            if not isinstance(result, ImageError)
        ]
        preparation.cache.put(preparation.space, good)
        preparation.timings.count(encoded=len(results), cached=0)
        return results


def _take(ahead: queue.Queue[_Item], *, wait: bool) -> _Item | None:
    """Return the next item; without `wait`, None if none arrives soon."""
    try:
        return ahead.get() if wait else ahead.get(timeout=_PATIENCE_SECONDS)
    except queue.Empty:
        return None


def _notify(ahead: queue.Queue[_Item]) -> None:
    """Wake the reader of the queue; if the queue is full, the reader is not waiting."""
    with contextlib.suppress(queue.Full):
        ahead.put_nowait(_Finished())


def _offer(ahead: queue.Queue[_Item], item: _Item, stopped: threading.Event) -> bool:
    """Put an item into the queue as soon as there is room; return False if the run has stopped."""
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            ahead.put(item, timeout=_PATIENCE_SECONDS)
            return True
    return False
