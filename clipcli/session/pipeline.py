"""The pipeline of threads and queues: decode the next images while the model encodes and results are written."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from clipcli import images
from clipcli.errors import ImageError
from clipcli.inputs.sources.filesystems import give_up_when
from clipcli.session.batcher import Batcher
from clipcli.session.features import vectors_or_faults
from clipcli.session.prepare import Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.core.vectors import Pixels, Vector, Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.session.prepare import Preparation, Prepared

_PATIENCE_SECONDS = 0.25
"""Time that a partial batch waits for more images when the list of images arrives slowly."""
_HELD_BACK = 8
"""Most batches of results that wait for an earlier image whose batch is not full yet."""
_FETCHED_AT_ONCE = 16
"""Parallel requests; threads that wait for a network need no core."""


@dataclass(frozen=True)
class Embedded:
    """The result of one image: a (dim,) vector, or an error."""

    ref: ImageRef
    vector: Vector | None
    error: ImageError | None
    digest: str = ""
    """The SHA-256 (hex) of the file's bytes; empty if it could not be read."""


@dataclass(frozen=True)
class _Pending:
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
