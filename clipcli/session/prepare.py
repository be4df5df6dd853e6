"""Prepare one image for the model, by the options of the session: look it up in the cache, read, decode, preprocess."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from clipcli import images
from clipcli.errors import ImageError
from clipcli.images.preprocess import to_pixels
from clipcli.session.cache_keys import image_key
from clipcli.session.features import fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from clipcli.cache import EmbeddingCache, NoCache
    from clipcli.core.encoder import Preprocessing
    from clipcli.core.vectors import Vector
    from clipcli.inputs.collect import ImageRef


@dataclass(frozen=True)
class SessionOptions:
    """How images are read, and the degree of parallelism."""

    batch_size: int | None = None
    """Images per batch; None chooses by device."""
    workers: int | None = None
    """Threads that read and decode; None takes one per core."""
    orient: bool = True
    """Rotate images by their EXIF orientation."""
    rendering: images.Rendering = images.ON_WHITE
    """The conversion of pixels to RGB."""
    max_pixels: int | None = None
    """Largest image that is decoded; None takes the default limit."""
    use_cache: bool = True
    refresh: bool = False
    fast_decode: bool = False
    """Let the JPEG decoder shrink large images, which is faster and changes vectors slightly."""
    gpu_decode: bool = False
    """Decode JPEG files on a CUDA device, which also shrinks them; the CPU decodes files that the device cannot."""
    raw: bool = False
    """Return the towers' own vectors of any length, instead of unit vectors."""

    @property
    def decoding(self) -> tuple[str, ...]:
        """Return the names of the non-default settings of decoding."""
        settings = {"unrotated": not self.orient, "fast": self.fast_decode, "gpu": self.gpu_decode}
        return tuple(name for name, is_set in settings.items() if is_set)

    @property
    def pixel_limit(self) -> int:
        """Return the largest number of pixels of an image that is decoded."""
        return images.DEFAULT_MAX_PIXELS if self.max_pixels is None else self.max_pixels


@dataclass
class Timings:
    """Seconds spent in each step, summed over threads, and the number of encoded and cached inputs."""

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
        """Add numbers of encoded and cached inputs."""
        with self._lock:
            self.encoded += encoded
            self.cached += cached


_DRAFT_FACTOR = 2
"""A JPEG decoder may shrink to no less than this multiple of the model's size (see docs/images.md)."""


class Decoded(NamedTuple):
    """An image to encode."""

    digest: str
    pixels: npt.NDArray[np.float32]


class Known(NamedTuple):
    """An image whose vector is in the cache."""

    digest: str
    vector: Vector


Prepared: TypeAlias = "Decoded | Known | ImageError"


@dataclass(frozen=True)
class Preparation:
    """Turns a reference into pixels, or into a vector from the cache."""

    how: Preprocessing
    space: str
    cache: EmbeddingCache | NoCache
    timings: Timings
    options: SessionOptions = field(default_factory=SessionOptions)
    on_gpu: Callable[[bytes, tuple[int, int]], Image | None] | None = None
    """Decodes a JPEG file on a GPU to an image of at least a (width, height), or returns None."""

    def prepare(self, ref: ImageRef, fetched: Future[bytes] | None = None) -> Prepared:
        """Prepare one image, thread-safe; errors are returned. `fetched` gives the bytes of a remote image."""
        try:
            if ref.problem is not None:
                return ImageError("read", ref.problem)
            before = _stat(ref.path) if ref.source is None else None
            digest_before = self.cache.known_digest(ref.path, before) if before else None
            if digest_before is not None and (vector := self._kept(digest_before)) is not None:
                return Known(digest_before, vector)
            with self.timings.measure("read"):
                data = images.read_ref(ref) if fetched is None else fetched.result()
                digest = image_key(data)
            if before is not None and _same(before, _stat(ref.path)):
                self.cache.remember_digest(ref.path, before, digest)
            if (vector := self._kept(digest)) is not None:
                return Known(digest, vector)
            with self.timings.measure("decode"):
                return Decoded(digest, self._pixels(data))
        except ImageError as error:
            return error.bare()

    def _kept(self, digest: str) -> Vector | None:
        vector = self.cache.get(self.space, [digest])[0]
        return vector if vector is not None and fault_of(vector) is None else None

    def _pixels(self, data: bytes) -> npt.NDArray[np.float32]:
        height, width = self.how.image_size
        min_size, on_gpu = (_DRAFT_FACTOR * width, _DRAFT_FACTOR * height), self.on_gpu
        jpeg = (lambda data: on_gpu(data, min_size)) if on_gpu else None
        image = decode_upright(data, self.options, draft=min_size if self.options.fast_decode else None, jpeg=jpeg)
        return to_pixels(image, self.how)


def decode_upright(
    data: bytes,
    options: SessionOptions,
    *,
    draft: tuple[int, int] | None = None,
    jpeg: Callable[[bytes], Image | None] | None = None,
) -> Image:
    """Decode an image as the options say; `draft` and `jpeg` are those of `clipcli.images.decode`.

    Raises:
        ImageError: at stage `decode`.
    """
    return images.decode(
        data,
        orient=options.orient,
        max_pixels=options.pixel_limit,
        draft=draft,
        jpeg=jpeg,
        rendering=options.rendering,
    )


def digest_of_ref(ref: ImageRef, cache: EmbeddingCache | NoCache) -> str:
    """Return the SHA-256 (hex) of an image's bytes; an unchanged file that the cache knows is not read.

    Raises:
        ImageError: at stage `read`.
    """
    before = _stat(ref.path) if ref.source is None and ref.problem is None else None
    known = cache.known_digest(ref.path, before) if before else None
    if known is not None:
        return known
    digest = image_key(images.read_ref(ref))
    if before is not None and _same(before, _stat(ref.path)):
        cache.remember_digest(ref.path, before, digest)
    return digest


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - paths are strings here, any bytes included
    except (OSError, ValueError):
        return None


def _same(before: os.stat_result, after: os.stat_result | None) -> bool:
    """Return whether a file did not change while it was read."""
    return after is not None and (before.st_ino, before.st_size, before.st_mtime_ns) == (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    )
