"""Is bfloat16 faster on this CPU, and does it rank alike? Measured, since neither follows from the CPU's name."""

from __future__ import annotations

import gc
import time
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
"""How many times faster bf16 has to be."""
TIE = 0.005
"""Cosines nearer than this may change places. Vision transformers move them by 0.002 at most in bf16."""
CLOSE = 0.998
"""Least cosine between the two vectors of an image: 0.9999 for transformers, 0.99 for nets of depthwise convolutions,
where one in sixteen photos got another of ImageNet's 1,000 names."""
_IMAGES, _ROUNDS, _PATCHES = 4, 3, 4
_TEXTS = (
    "a photo of a dog", "a red car", "blue sky", "green grass", "a plate of food", "people in a street",
    "a page of printed text", "noise",
)  # fmt: skip


@dataclass(frozen=True)
class _Trial:
    """What an encoder made of the probes, and how long it took."""

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
    """Return the fp32 encoder, or its bf16 twin where that is worth it and ranks texts for images alike.

    One is gone before the other comes, so that measuring takes no more memory than running does; an fp32 that wins is
    loaded twice.
    """
    console.debug("measuring bf16 against fp32, once for this model on this CPU")
    before = _Trial.of(load_wide(), clock)
    gc.collect()  # modules point back at themselves here and there
    try:
        narrow = load_narrow()
        after = _Trial.of(narrow, clock)
    except (ModelError, MemoryError, RuntimeError) as error:
        console.debug(f"bf16 does not run here ({error}); fp32 it is")
        return load_wide()
    ratio = before.seconds / max(after.seconds, 1e-9)
    alike = _ranks_alike(before, after)
    is_worth_it = alike and ratio >= WORTH
    console.debug(
        f"bf16 is {ratio:.2f} times as fast as fp32 and ranks {'alike' if alike else 'otherwise'}: "
        f"{'bf16' if is_worth_it else 'fp32'}"
    )
    if is_worth_it:
        return narrow
    del narrow
    return load_wide()


def probe_images(size: tuple[int, int]) -> Pixels:
    """Float32 (images, 3, height, width): coloured patches, always the same, spread as normalised photos are."""
    height, width = size
    patches = np.random.default_rng(0).standard_normal((_IMAGES, 3, _PATCHES, _PATCHES)).astype(np.float32)
    rows, columns = (np.arange(length) * _PATCHES // length for length in (height, width))
    return np.ascontiguousarray(patches[:, :, rows][:, :, :, columns])


def _ranks_alike(wide: _Trial, narrow: _Trial) -> bool:
    """Return whether the narrow vectors are close to the wide ones, and no two texts that are apart change places."""
    if not (wide.images * narrow.images).sum(axis=1).min() >= CLOSE:  # nor is what is not finite
        return False
    before, after = (trial.images @ trial.texts.T for trial in (wide, narrow))
    apart = before[:, :, None] - before[:, None, :] > TIE
    kept = after[:, :, None] > after[:, None, :]
    return bool(kept[apart].all())


def _seconds(encoder: Encoder, pixels: Pixels, clock: Clock) -> float:
    """Of an image, in the fastest of a few passes; the first, which prepares memory, does not count."""
    rows = pixels[np.arange(image_rows(encoder.precision)) % len(pixels)]
    encoder.encode_images(rows)
    passes = []
    for _ in range(_ROUNDS):
        started = clock()
        encoder.encode_images(rows)
        passes.append(clock() - started)
    return min(passes) / len(rows)
