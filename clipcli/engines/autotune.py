"""Measure whether bfloat16, or another engine, is faster on this CPU and ranks alike; the CPU's name does not tell."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from clipcli.core.batch_invariance import image_rows
from clipcli.core.vectors import unit_length
from clipcli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.core.console import Console
    from clipcli.core.encoder import Encoder
    from clipcli.core.vectors import Pixels, Vectors

    Clock = Callable[[], float]
    _E = TypeVar("_E", bound=Encoder)

WORTH = 1.1
"""Least speed-up of bf16 over fp32, or of another engine."""
TIE = 0.005
"""Cosines closer than this may swap their order. In bf16, vision transformers change them by at most 0.002."""
CLOSE = 0.998
"""Least cosine between an image's vectors in fp32 and bf16: 0.9999 for transformers, 0.99 for networks of depthwise
convolutions, where one photo in sixteen got another of ImageNet's 1,000 labels."""
_IMAGES, _ROUNDS, _PATCHES = 4, 3, 4
_TEXTS = (
    "a photo of a dog", "a red car", "blue sky", "green grass", "a plate of food", "people in a street",
    "a page of printed text", "noise",
)  # fmt: skip


@dataclass(frozen=True)
class _Trial:
    """The vectors of the probes from one encoder, and its time per image."""

    seconds: float
    images: Vectors
    texts: Vectors

    @classmethod
    def of(cls, encoder: Encoder, clock: Clock) -> _Trial:
        pixels = probe_images(encoder.info.preprocessing.image_size)
        seconds = _seconds(encoder, pixels, clock)
        return cls(seconds, unit_length(encoder.encode_images(pixels)), unit_length(encoder.encode_texts(_TEXTS)))


def quicker(
    load_wide: Callable[[], _E], load_narrow: Callable[[], _E], console: Console, clock: Clock = time.perf_counter
) -> _E:
    """Return the fp32 encoder, or the bf16 one if it is faster by `WORTH` and ranks texts in the same way.

    Only one is in memory at a time, so measuring takes no more memory than running; fp32, if chosen, is loaded twice.
    """
    return faster_rival(load_wide, load_narrow, ("fp32", "bf16"), console, clock) or load_wide()


def faster_rival(
    load_usual: Callable[[], Encoder],
    load_rival: Callable[[], _E],
    names: tuple[str, str],
    console: Console,
    clock: Clock = time.perf_counter,
) -> _E | None:
    """Return the rival if it is faster than the usual encoder by `WORTH` and ranks texts in the same way, else None.

    Args:
        load_usual: loads the encoder to compare with, which is freed again.
        load_rival: loads the other one; it may fail.
        names: of both, for messages.
        console: says the verdict with `-v`.
        clock: seconds.
    """
    usual, rival = names
    console.debug(f"measuring {rival} against {usual}, once for this model on this CPU")
    before = _Trial.of(load_usual(), clock)
    gc.collect()  # some modules contain reference cycles
    try:
        encoder = load_rival()
        after = _Trial.of(encoder, clock)
    except (ModelError, MemoryError, RuntimeError) as error:
        console.debug(f"{rival} does not run here ({error}); using {usual}")
        return None
    ratio = before.seconds / max(after.seconds, 1e-9)
    alike = _ranks_alike(before, after)
    is_worth_it = alike and ratio >= WORTH
    console.debug(
        f"{rival} is {ratio:.2f} times as fast as {usual} and ranks {'the same' if alike else 'differently'}: "
        f"using {rival if is_worth_it else usual}"
    )
    return encoder if is_worth_it else None


def probe_images(size: tuple[int, int]) -> Pixels:
    """Return (images, 3, height, width) float32: constant coloured patches, distributed like normalised photos."""
    height, width = size
    patches = np.random.default_rng(0).standard_normal((_IMAGES, 3, _PATCHES, _PATCHES)).astype(np.float32)
    rows, columns = (np.arange(length) * _PATCHES // length for length in (height, width))
    return np.ascontiguousarray(patches[:, :, rows][:, :, :, columns])


def _ranks_alike(wide: _Trial, narrow: _Trial) -> bool:
    """Return whether the vectors are close to each other, and no two distinct texts swap their order."""
    if not (wide.images * narrow.images).sum(axis=1).min() >= CLOSE:  # also true for NaN
        return False
    before, after = (trial.images @ trial.texts.T for trial in (wide, narrow))
    apart = before[:, :, None] - before[:, None, :] > TIE
    kept = after[:, :, None] > after[:, None, :]
    return bool(kept[apart].all())


def _seconds(encoder: Encoder, pixels: Pixels, clock: Clock) -> float:
    """Return the seconds per image of the fastest of a few passes on all lanes, after one pass to prepare memory."""
    rows = pixels[np.arange(image_rows(encoder.precision)) % len(pixels)]
    batches = [rows] * encoder.image_lanes
    passes = []
    with ThreadPoolExecutor(len(batches)) as lanes:
        for _ in range(1 + _ROUNDS):
            started = clock()
            list(lanes.map(encoder.encode_images, batches))
            passes.append(clock() - started)
    return min(passes[1:]) / (len(rows) * len(batches))
