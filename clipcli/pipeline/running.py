"""Threads and queues: while the model works on one batch, the next is decoded and the one before is written."""

from __future__ import annotations

import contextlib
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clipcli import images
from clipcli.errors import ImageError
from clipcli.pipeline.preparing import Decoded, Known
from clipcli.sources.fetching import give_up_when

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt

    from clipcli.inputs import ImageRef
    from clipcli.pipeline.preparing import Preparation, Prepared
    from clipcli.vectors import Pixels, Vector, Vectors

_PATIENCE_SECONDS = 0.25
"""How long a part of a batch waits for more when the list of images comes slowly."""
_FETCHED_AT_ONCE = 16
"""Requests under way: those who wait for a network do not keep a core busy."""
_HELD_BACK = 8
"""Batches of results that wait at most for images among them that have yet to fill a batch for the model."""


@dataclass(frozen=True)
class Embedded:
    """What became of one image: a vector (dim,), or an error."""

    ref: ImageRef
    vector: Vector | None
    error: ImageError | None
    digest: str = ""
    """The sha256 (hex) of the file's bytes; empty when it could not be read."""


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


_Item: TypeAlias = "tuple[ImageRef, Future[Prepared]] | _End"


@dataclass
class _Batch:
    """Consecutive images; those that the model has to see are there once, however often their content comes."""

    images: list[tuple[ImageRef, ImageError | Known | str]] = field(default_factory=list)
    """What is known of each image already, or the sha256 of its content."""
    fresh: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """Pixels by content, until the model has them."""

    def add(self, ref: ImageRef, prepared: Prepared) -> None:
        if isinstance(prepared, Decoded):
            self.fresh.setdefault(prepared.digest, prepared.pixels)
            self.images.append((ref, prepared.digest))
        else:
            self.images.append((ref, prepared))

    def is_due(self, batch_size: int, *, model_idle: bool) -> bool:
        """Full, or holding back too much; without an image for the model, as soon as nothing comes before it."""
        if len(self.images) >= _HELD_BACK * batch_size:
            return True
        return len(self.fresh) >= batch_size if self.fresh else model_idle

    def results(self, vectors: dict[str, Vector]) -> Iterator[Embedded]:
        for ref, found in self.images:
            if isinstance(found, ImageError):
                yield Embedded(ref, None, found)
            elif isinstance(found, Known):
                yield Embedded(ref, found.vector, None, found.digest)
            else:
                yield Embedded(ref, vectors[found], None, found)


@dataclass(frozen=True)
class _Running:
    """A batch that is with the model."""

    batch: _Batch
    vectors: Future[dict[str, Vector]]
    """By the sha256 of the image's content."""


@dataclass(frozen=True)
class ImagePipeline:
    """Everything between a path and a vector."""

    preparation: Preparation
    encode: Callable[[Pixels], Vectors]
    """(n, 3, height, width) → (n, dim)."""
    workers: int

    def run(self, refs: Iterable[ImageRef], batch_size: int) -> Iterator[Embedded]:
        """Results in input order. At most four batches are in memory, whatever the number of images."""
        ahead: queue.Queue[_Item] = queue.Queue(maxsize=2 * batch_size + self.workers)
        stopped = threading.Event()
        decoders = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        model = ThreadPoolExecutor(1, thread_name_prefix="model")
        fetchers = ThreadPoolExecutor(_FETCHED_AT_ONCE, "fetch", give_up_when, (stopped,))
        feed = (refs, decoders, fetchers, ahead, stopped)
        threading.Thread(target=self._feed, args=feed, daemon=True, name="feed").start()
        try:
            yield from self._drain(ahead, model, batch_size)
        finally:
            stopped.set()
            fetchers.shutdown(wait=False, cancel_futures=True)
            decoders.shutdown(wait=False, cancel_futures=True)
            model.shutdown(wait=False, cancel_futures=True)

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

    def _drain(self, ahead: queue.Queue[_Item], model: ThreadPoolExecutor, batch_size: int) -> Iterator[Embedded]:
        batch = _Batch()
        running: _Running | None = None
        while True:
            item = _take(ahead, wait=not batch.images and running is None)
            if isinstance(item, tuple):
                batch.add(item[0], item[1].result())
                if running is not None and running.vectors.done():
                    yield from self._emit(running)
                    running = None
                if not batch.is_due(batch_size, model_idle=running is None):
                    continue
            before, running = running, self._start(batch, model)
            batch = _Batch()
            if before is not None:  # handed out while the model has the next
                yield from self._emit(before)
            if not isinstance(item, tuple) or running.vectors.done():
                yield from self._emit(running)
                running = None
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return

    def _start(self, batch: _Batch, model: ThreadPoolExecutor) -> _Running:
        """Give a batch to the model, which may still be at work on the one before."""
        if not batch.fresh:
            nothing: Future[dict[str, Vector]] = Future()
            nothing.set_result({})
            return _Running(batch, nothing)
        digests = list(batch.fresh)
        pixels = np.stack([batch.fresh.pop(digest) for digest in digests])
        return _Running(batch, model.submit(self._encode, digests, pixels))

    def _encode(self, digests: list[str], pixels: Pixels) -> dict[str, Vector]:
        """In the model's thread: vectors by content, kept at once so that a kill costs no more than this batch."""
        preparation = self.preparation
        with preparation.timings.measure("model"):
            rows = self.encode(pixels)
        vectors = dict(zip(digests, rows, strict=True))
        preparation.cache.put(preparation.space, list(vectors.items()))
        return vectors

    def _emit(self, running: _Running) -> Iterator[Embedded]:
        vectors = running.vectors.result()
        known = sum(isinstance(found, Known) for _, found in running.batch.images)
        self.preparation.timings.count(encoded=len(vectors), cached=known)
        yield from running.batch.results(vectors)


def _take(ahead: queue.Queue[_Item], *, wait: bool) -> _Item | None:
    """The next item; None when there is something to do meanwhile and none comes soon."""
    try:
        return ahead.get() if wait else ahead.get(timeout=_PATIENCE_SECONDS)
    except queue.Empty:
        return None


def _offer(ahead: queue.Queue[_Item], item: _Item, stopped: threading.Event) -> bool:
    """Put an item as soon as there is room; False when nobody wants it any more."""
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            ahead.put(item, timeout=_PATIENCE_SECONDS)
            return True
    return False
