"""`clipcli models bench`: measure each model in a fresh process, through the same session as a run, without a cache."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

from clipcli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clipcli.models.spec import Choice

_IMAGES = 32
_SIZE = (640, 480)
_TEXTS = 64
_DIGITS = 3


@dataclass(frozen=True)
class BenchRow:
    """One model on this machine."""

    model: str
    where: str
    """Device, precision, engine."""
    load_seconds: float
    """Time from the first import until images and texts can be encoded."""
    images_per_second: float
    """From a JPEG file of 640 × 480 pixels to its vector."""
    texts_per_second: float
    peak_megabytes: float | None
    """Peak memory of the process, in 10^6 bytes; None if unknown."""
    ratio: float | None = None
    """Images per second, divided by those of the first model."""
    columns: ClassVar[tuple[str, ...]] = ("model", "where", "load_s", "images_s", "texts_s", "peak_mb", "ratio")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "model": self.model,
            "where": self.where,
            "load_seconds": round(self.load_seconds, _DIGITS),
            "images_per_second": round(self.images_per_second, _DIGITS),
            "texts_per_second": round(self.texts_per_second, _DIGITS),
            "peak_megabytes": None if self.peak_megabytes is None else round(self.peak_megabytes),
            "ratio": None if self.ratio is None else round(self.ratio, _DIGITS),
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line."""
        speeds = (f"{self.images_per_second:.1f}", f"{self.texts_per_second:.1f}")
        peak = "" if self.peak_megabytes is None else f"{self.peak_megabytes:.0f}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return [(self.model, self.where, f"{self.load_seconds:.2f}", *speeds, peak, ratio)]


def benchmark(choices: Sequence[Choice], seconds: float) -> Iterator[BenchRow]:
    """Yield one row per model, as soon as it is measured.

    Raises:
        ModelError: a model cannot be loaded, or its process was killed, for example for lack of memory.
    """
    with TemporaryDirectory(prefix="clipcli-bench-") as folder:
        files = draw_images(Path(folder))
        first: float | None = None
        for choice in choices:
            row = _in_fresh_process(choice, files, seconds)
            first = first or row.images_per_second
            yield replace(row, ratio=row.images_per_second / first)


def _in_fresh_process(choice: Choice, files: Sequence[str], seconds: float) -> BenchRow:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            kind, value = pool.submit(_guarded, choice, files, seconds).result()
        except BrokenProcessPool as error:
            raise ModelError(
                f"{choice.model}: its process was killed", hint="it may need more memory than this machine has"
            ) from error
    if isinstance(value, BenchRow):
        return value
    raise ModelError(kind, hint=value)


def _guarded(choice: Choice, files: Sequence[str], seconds: float) -> tuple[str, BenchRow | str | None]:
    """Return errors as texts, since not all exceptions can be pickled."""
    try:
        return "", measure(choice, files, seconds)
    except ModelError as error:
        return error.message, error.hint


def measure(choice: Choice, files: Sequence[str], seconds: float) -> BenchRow:
    """Measure one model in this process.

    Args:
        choice: the model with device, precision and engine.
        files: images to embed repeatedly.
        seconds: least time for images, and again for texts.
    """
    started = time.perf_counter()
    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.session.prepare import SessionOptions
    from clipcli.session.session import open_session

    refs = [ImageRef(name, name) for name in files]
    with open_session(choice, Console(quiet=True), SessionOptions(use_cache=False)) as session:
        encoder = session.model.encoder
        for embedded in session.embed_images(refs[:1]):
            if embedded.error is not None:
                raise ModelError(f"{choice.model}: {embedded.error.reason}")
        session.embed_texts(["a photo of a cat"])
        loaded = time.perf_counter() - started
        images = _rate(lambda _: list(session.embed_images(refs)), len(refs), seconds)
        texts = _rate(lambda turn: session.embed_texts(_texts(turn)), _TEXTS, seconds)
        engine = session.model.engine
        setup = f"{encoder.device} {encoder.precision} {engine}"
        return BenchRow(session.model.spec.name, setup, loaded, images, texts, peak_megabytes())


def _rate(work: Callable[[int], object], count: int, seconds: float) -> float:
    started, turns = time.perf_counter(), 0
    while turns == 0 or time.perf_counter() - started < seconds:
        work(turns)
        turns += 1
    return count * turns / (time.perf_counter() - started)


def _texts(turn: int) -> list[str]:
    return [f"a photo of a thing, number {turn * _TEXTS + number}" for number in range(_TEXTS)]


def draw_images(folder: Path) -> list[str]:
    """Write photo-sized JPEG files with random smooth content, the same every time; return their paths."""
    import numpy as np
    from PIL import Image

    generator, names = np.random.default_rng(0), []
    for number in range(_IMAGES):
        coarse = Image.fromarray(generator.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        path = folder / f"{number}.jpg"
        coarse.resize(_SIZE, Image.Resampling.BICUBIC).save(path, quality=90)
        names.append(str(path))
    return names


def peak_megabytes() -> float | None:
    """Return the peak resident memory of this process in 10^6 bytes, or None if unknown.

    On Linux it excludes the memory of the process it was forked from.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
