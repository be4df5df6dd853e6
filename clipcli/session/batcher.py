"""Dynamic batching: worker threads encode the next batch of queued images whenever they are idle."""

from __future__ import annotations

import atexit
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from clipcli.core.vectors import Pixels, Vector
    from clipcli.errors import ImageError

    Encode = Callable[[list[str], Pixels], list[Vector | ImageError]]
    """Contents and their pixels (n, 3, height, width) → their vectors, or why they have none."""

_BATCH_TIMEOUT_SECONDS = 0.02
"""Time that idle workers wait for full batches before they share the queued images."""
_ALL: WeakSet[Batcher] = WeakSet()


@atexit.register
def _stop_workers() -> None:
    """Stop the workers before the interpreter shuts down: a thread inside native code would crash the process.

    Threads of an executor are joined earlier, which never returns if a run was dropped without being closed.
    """
    for batcher in list(_ALL):
        batcher.close()
    for batcher in list(_ALL):
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
        _ALL.add(self)

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
