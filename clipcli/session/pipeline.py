"""Threads and queues: while the model works on some batches, the next is decoded and the one before is written."""

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
from clipcli.inputs.sources.fetch import give_up_when
from clipcli.session.batcher import Batcher
from clipcli.session.features import vectors_or_faults
from clipcli.session.prepare import Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.core.vectors import Pixels, Vector, Vectors
    from clipcli.inputs.collect import ImageRef
    from clipcli.session.prepare import Preparation, Prepared

_PATIENCE_SECONDS = 0.25
"""How long a part of a batch waits for more when the list of images comes slowly."""
_HELD_BACK = 8
"""Batches of results that wait at most for an image among them that has yet to fill a batch for the model."""
_FETCHED_AT_ONCE = 16
"""Requests under way: those who wait for a network do not keep a core busy."""


@dataclass(frozen=True)
class Embedded:
    """What became of one image: a vector (dim,), or an error."""

    ref: ImageRef
    vector: Vector | None
    error: ImageError | None
    digest: str = ""
    """The sha256 (hex) of the file's bytes; empty when it could not be read."""


@dataclass(frozen=True)
class _Coming:
    """An image of which something will become, or has."""

    ref: ImageRef
    outcome: Future[Vector | ImageError] | Vector | ImageError
    digest: str = ""

    @property
    def is_done(self) -> bool:
        return not isinstance(self.outcome, Future) or self.outcome.done()

    def result(self) -> Embedded:
        """Waits for the model; raises what it raised."""
        outcome = self.outcome.result() if isinstance(self.outcome, Future) else self.outcome
        if isinstance(outcome, ImageError):
            return Embedded(self.ref, None, outcome)
        return Embedded(self.ref, outcome, None, self.digest)


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


class _Finished:
    """Word from the model that a batch is done."""


_Item: TypeAlias = "tuple[ImageRef, Future[Prepared]] | _Finished | _End"


class PixelEncoder(Protocol):
    """Where batches of pixels go; `clipcli.session.batch_encoder.BatchEncoder` is one."""

    @property
    def lanes(self) -> int:
        """Return how many batches it takes side by side; asked when there is work for it."""
        ...

    @property
    def least(self) -> int:
        """Return how many images take it as long as fewer of them."""
        ...

    def encode_images(self, pixels: Pixels) -> Vectors:
        """(n, 3, height, width) → (n, dim); a row that `fault_of` refuses becomes an error, and is not kept."""
        ...


@dataclass(frozen=True)
class ImagePipeline:
    """Everything between a path and a vector."""

    preparation: Preparation
    encoder: PixelEncoder
    workers: int

    def run(self, refs: Iterable[ImageRef], batch_size: int) -> Iterator[Embedded]:
        """Results in input order. A few batches more than there are lanes are in memory, however many images come."""
        ahead: queue.Queue[_Item] = queue.Queue(maxsize=2 * batch_size + self.workers)
        stopped = threading.Event()
        decoders = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        model = Batcher(self._encode, batch_size, lambda: self.encoder.lanes, lambda: _tell(ahead), self.encoder.least)
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
        """Hand work to the threads in input order, as far ahead as the queue allows."""
        end = _End()
        try:
            for ref in refs:
                far = ref.source is not None and ref.source.is_remote
                fetched = fetchers.submit(images.read_ref, ref) if far else None
                if not _offer(ahead, (ref, decoders.submit(self.preparation.prepare, ref, fetched)), stopped):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that reads the queue
            end = _End(error)
        _offer(ahead, end, stopped)

    def _drain(self, ahead: queue.Queue[_Item], model: Batcher, most: int) -> Iterator[Embedded]:
        """Results in order, as soon as what comes before them is done; at most `most` are held back by those before."""
        coming = deque[_Coming]()
        while True:
            item = _take(ahead, wait=not model.has_waiting)
            if isinstance(item, tuple):
                coming.append(self._sent(item[0], item[1].result(), model))
            is_over = isinstance(item, _End)
            is_held_up = len(coming) >= most
            if item is None or is_over or is_held_up:
                model.hurry()
            while coming and (coming[0].is_done or is_over or model.is_full or len(coming) >= most):
                yield coming.popleft().result()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return

    def _sent(self, ref: ImageRef, prepared: Prepared, model: Batcher) -> _Coming:
        """Return an image on its way to the model, if it has to go there."""
        if isinstance(prepared, ImageError):
            return _Coming(ref, prepared)
        if isinstance(prepared, Known):
            self.preparation.timings.count(encoded=0, cached=1)
            return _Coming(ref, prepared.vector, prepared.digest)
        return _Coming(ref, model.add(prepared.digest, prepared.pixels), prepared.digest)

    def _encode(self, digests: list[str], pixels: Pixels) -> list[Vector | ImageError]:
        """In the model's threads. What they made is kept at once, so that a kill costs no more than their batches."""
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
    """Return the next item; None when there is a batch to start and none comes soon."""
    try:
        return ahead.get() if wait else ahead.get(timeout=_PATIENCE_SECONDS)
    except queue.Empty:
        return None


def _tell(ahead: queue.Queue[_Item]) -> None:
    """Wake who waits for the next image; a full queue keeps nobody waiting."""
    with contextlib.suppress(queue.Full):
        ahead.put_nowait(_Finished())


def _offer(ahead: queue.Queue[_Item], item: _Item, stopped: threading.Event) -> bool:
    """Put an item as soon as there is room; False when nobody wants it any more."""
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            ahead.put(item, timeout=_PATIENCE_SECONDS)
            return True
    return False
