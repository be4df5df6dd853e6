"""What the threads do to one image before the model sees it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from clipcli import images
from clipcli.core.devices import accelerator
from clipcli.core.optional_packages import require_torch
from clipcli.errors import DeviceError, ImageError, UsageError
from clipcli.images.preprocess import to_pixels
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
    from clipcli.engines.nvjpeg import JpegDecoder
    from clipcli.inputs.collect import ImageRef

_HINT = "--fast-decode is the CPU's way to decode large photos faster"


def gpu_decoder(device: str) -> GpuDecoder:
    """Return a decoder for the device that a model was asked to run on; nothing is loaded yet.

    Raises:
        UsageError: that is another kind of device.
        TorchMissingError: torch is not installed.
        DeviceError: there is no CUDA device here.
    """
    if device.partition(":")[0] not in {"auto", "cuda"}:
        raise UsageError(f"--gpu-decode decodes on a CUDA device, and --device says {device}", hint=_HINT)
    require_torch("--gpu-decode")
    if accelerator() != "cuda":
        raise DeviceError("--gpu-decode: no CUDA device here", hint=_HINT)
    return GpuDecoder("cuda" if device == "auto" else device)


class GpuDecoder:
    """See `clipcli.engines.nvjpeg.JpegDecoder`, which it becomes at the first use: a run from the cache needs none."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._decoder: JpegDecoder | None = None
        self._changing = threading.Lock()
        self.asked = self.taken = 0
        """JPEGs that came here, and those of them that were decoded here."""

    def __call__(self, data: bytes, least: tuple[int, int]) -> Image | None:
        """Decode a JPEG file → an image of no less than `least`, or None."""
        with self._changing:
            if self._decoder is None:
                from clipcli.engines.nvjpeg import JpegDecoder

                self._decoder = JpegDecoder(self._device)
        image = self._decoder(data, least)
        with self._changing:
            self.asked += 1
            self.taken += image is not None
        return image


@dataclass
class Timings:
    """Seconds spent in each step, summed over threads, and how many inputs came from the cache."""

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


_DRAFT_FACTOR = 2
"""A JPEG decoder may shrink to no less than this many times the model's size (docs/images.md has the tolerance)."""


@dataclass(frozen=True)
class Decoded:
    """An image that the model has to see."""

    digest: str
    pixels: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Known:
    """An image whose vector is in the cache."""

    digest: str
    vector: Vector


Prepared: TypeAlias = "Decoded | Known | ImageError"


@dataclass(frozen=True)
class Preparation:
    """From a path to pixels, or straight to a vector that an earlier run has kept."""

    how: Preprocessing
    space: str
    cache: EmbeddingCache | NoCache
    timings: Timings
    orient: bool = True
    fast: bool = False
    """Let the JPEG decoder shrink large images on the way."""
    rendering: images.Rendering = images.ON_WHITE
    max_pixels: int | None = None
    on_gpu: Callable[[bytes, tuple[int, int]], Image | None] | None = None
    """Decodes a JPEG file elsewhere, to an image of no less than a width and height, or declines."""

    def prepare(self, ref: ImageRef, fetched: Future[bytes] | None = None) -> Prepared:
        """Runs in many threads at once; an error is a result. `fetched` is what comes from far away."""
        try:
            if ref.problem is not None:
                return ImageError("read", ref.problem)
            before = _stat(ref.path) if ref.source is None else None
            known = self.cache.known_digest(ref.path, before) if before else None
            if known is not None and (vector := self._kept(known)) is not None:
                return Known(known, vector)
            with self.timings.measure("read"):
                data = images.read_ref(ref) if fetched is None else fetched.result()
                digest = hashlib.sha256(data).hexdigest()
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
        limit = images.DEFAULT_MAX_PIXELS if self.max_pixels is None else self.max_pixels
        height, width = self.how.image_size
        least, on_gpu = (_DRAFT_FACTOR * width, _DRAFT_FACTOR * height), self.on_gpu
        jpeg = (lambda data: on_gpu(data, least)) if on_gpu else None
        draft = least if self.fast else None
        image = images.decode(
            data, orient=self.orient, max_pixels=limit, draft=draft, jpeg=jpeg, rendering=self.rendering
        )
        return to_pixels(image, self.how)


def digest_of_ref(ref: ImageRef, cache: EmbeddingCache | NoCache) -> str:
    """Return the SHA-256 (hex) of an image's bytes; an unchanged file that the cache knows is not read.

    Raises:
        ImageError: at stage `read`.
    """
    before = _stat(ref.path) if ref.source is None and ref.problem is None else None
    known = cache.known_digest(ref.path, before) if before else None
    if known is not None:
        return known
    digest = hashlib.sha256(images.read_ref(ref)).hexdigest()
    if before is not None and _same(before, _stat(ref.path)):
        cache.remember_digest(ref.path, before, digest)
    return digest


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - paths are strings here, any bytes included
    except (OSError, ValueError):
        return None


def _same(before: os.stat_result, after: os.stat_result | None) -> bool:
    """Return whether a file was left alone while it was read."""
    return after is not None and (before.st_ino, before.st_size, before.st_mtime_ns) == (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    )
