"""The threads in which a model works: each takes a batch of what waits whenever it is free."""

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

_LINGER_SECONDS = 0.02
"""How long lanes that are idle wait for a batch each, before they share the one that is there."""
_ALL: WeakSet[Batcher] = WeakSet()


@atexit.register
def _end() -> None:
    """Let nobody be with the model when Python goes: its threads would find it gone, and take the process with them.

    An executor's threads would be waited for before that: for ever, where a run was dropped and not closed.
    """
    for lanes in list(_ALL):
        lanes.close()
    for lanes in list(_ALL):
        lanes.wait()


@dataclass(frozen=True)
class _Waiting:
    digest: str
    pixels: npt.NDArray[np.float32]
    vector: Future[Vector | ImageError] = field(default_factory=Future)


class Batcher:
    """Images that wait for the model, and the threads that take them there, in the order in which they come."""

    def __init__(
        self,
        encode: Encode,
        batch_size: int,
        max_batches: Callable[[], int],
        finished: Callable[[], object],
        least: int = 1,
    ) -> None:
        """Begin with no thread.

        Args:
            encode: the model.
            batch_size: images that it is given at once.
            max_batches: number of batches that the model encodes in parallel; may grow, and a call may load the model.
            finished: called after each batch.
            least: images that take the model as long as fewer of them.
        """
        self._encode, self._max_batches, self._finished = encode, max_batches, finished
        self._batch_size, self._least = batch_size, least
        self._threads: list[threading.Thread] = []
        self._idle = 0
        """Threads that are not with the model, some perhaps still on their way here."""
        self._waiting: list[_Waiting] = []
        self._vectors: dict[str, Future[Vector | ImageError]] = {}
        """By content, of all that waits or is with the model."""
        self._hurry = self._closed = False
        self._changed = threading.Condition()
        _ALL.add(self)

    def add(self, digest: str, pixels: npt.NDArray[np.float32]) -> Future[Vector | ImageError]:
        """Have the model see an image, once however often its content comes while it waits."""
        thread_count = self._max_batches()
        with self._changed:
            if digest not in self._vectors:
                image = _Waiting(digest, pixels)
                self._waiting.append(image)
                self._vectors[digest] = image.vector
            vector = self._vectors[digest]
            while len(self._threads) < thread_count:
                self._begin()
            self._changed.notify_all()
        return vector

    def hurry(self) -> None:
        """Let nothing that waits now wait for more to come."""
        with self._changed:
            self._hurry = bool(self._waiting)
            self._changed.notify_all()

    @property
    def has_waiting(self) -> bool:
        """Return whether something waits until a batch is full, or a lane free."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Return whether the next batch of every lane is there."""
        return len(self._waiting) >= max(len(self._threads), 1) * self._batch_size

    def close(self) -> None:
        """Begin no other batch."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self) -> None:
        """After the end, for the batches that are with the model."""
        for thread in self._threads:
            thread.join()

    def _begin(self) -> None:
        self._idle += 1
        self._threads.append(threading.Thread(target=self._work, name=f"model-{len(self._threads)}", daemon=True))
        self._threads[-1].start()

    def _work(self) -> None:
        """What each thread does until the end."""
        while batch := self._next():
            try:
                vectors = self._encode([image.digest for image in batch], np.stack([image.pixels for image in batch]))
            except BaseException as error:  # noqa: BLE001 - raised again by who waits for the vectors
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
        """Return what a thread that is free does next; nothing when all is over."""
        with self._changed:
            while not (self._closed or self._is_time()):
                is_shared = len(self._waiting) >= self._batch_size  # too little for all that are idle
                if not self._changed.wait(_LINGER_SECONDS if is_shared else None):
                    self._hurry = True
            share = -(-len(self._waiting) // (self._idle * self._least)) * self._least
            self._idle -= 1
            batch = [] if self._closed else self._waiting[: min(share, self._batch_size)]
            del self._waiting[: len(batch)]
            self._hurry = self._hurry and bool(self._waiting)
            return batch

    def _is_time(self) -> bool:
        """Return whether there is a batch for every lane that is idle, or no reason to wait for that."""
        return bool(self._waiting) and (self._hurry or len(self._waiting) >= self._idle * self._batch_size)
