"""Is bfloat16 faster on this CPU, and does it rank alike? Measured, since neither follows from the CPU's name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from clipcli.errors import ModelError
from clipcli.vectors import unit_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipcli.encoder import Encoder
    from clipcli.talk import Talk
    from clipcli.vectors import Pixels

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


def quicker(wide: _E, load_narrow: Callable[[], _E], talk: Talk, clock: Clock = time.perf_counter) -> _E:
    """The fp32 encoder given, or its bf16 twin where that is worth it and ranks texts for images alike."""
    talk.detail("measuring bf16 against fp32, once for this model on this CPU")
    try:
        narrow = load_narrow()
        pixels = probe_images(wide.info.preprocessing.image_size)
        before, after = (_seconds(encoder, pixels, clock) for encoder in (wide, narrow))
        alike = ranks_alike(wide, narrow, pixels)
    except (ModelError, MemoryError, RuntimeError) as error:
        talk.detail(f"bf16 does not run here ({error}); fp32 it is")
        return wide
    ratio = before / max(after, 1e-9)
    chosen = narrow if alike and ratio >= WORTH else wide
    talk.detail(
        f"bf16 is {ratio:.2f} times as fast as fp32 and ranks {'alike' if alike else 'otherwise'}: {chosen.precision}"
    )
    return chosen


def probe_images(size: tuple[int, int]) -> Pixels:
    """Float32 (images, 3, height, width): coloured patches, always the same, spread as normalised photos are."""
    height, width = size
    patches = np.random.default_rng(0).standard_normal((_IMAGES, 3, _PATCHES, _PATCHES)).astype(np.float32)
    rows, columns = (np.arange(length) * _PATCHES // length for length in (height, width))
    return np.ascontiguousarray(patches[:, :, rows][:, :, :, columns])


def ranks_alike(wide: Encoder, narrow: Encoder, pixels: Pixels) -> bool:
    """Whether the narrow vectors are close to the wide ones, and no two texts that are apart change places."""
    images = [unit_length(encoder.encode_images(pixels)) for encoder in (wide, narrow)]
    texts = [unit_length(encoder.encode_texts(_TEXTS)) for encoder in (wide, narrow)]
    if (images[0] * images[1]).sum(axis=1).min() < CLOSE:
        return False
    before, after = (left @ right.T for left, right in zip(images, texts, strict=True))
    apart = before[:, :, None] - before[:, None, :] > TIE
    kept = after[:, :, None] > after[:, None, :]
    return bool(kept[apart].all())


def _seconds(encoder: Encoder, pixels: Pixels, clock: Clock) -> float:
    """The fastest of a few passes; the first, which prepares memory, does not count."""
    encoder.encode_images(pixels)
    passes = []
    for _ in range(_ROUNDS):
        started = clock()
        encoder.encode_images(pixels)
        passes.append(clock() - started)
    return min(passes)
