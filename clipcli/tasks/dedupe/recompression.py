"""Whether a picture was a JPEG file of coarser quality before it was saved as the file it is now.

The first compression rounds the cosine coefficients of each block to multiples of its steps. Another one with finer
steps leaves most of them there, so that their histogram has gaps (Lukas and Fridrich, "Estimation of Primary
Quantization Matrix in Double Compressed JPEG Images", 2003). A gap at each multiple is a peak in its spectrum. Tones
that were changed in between scale the steps and keep the gaps; another size, a turn or a crop moves the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

BLOCK: Final = 8
_SIDE: Final = 768
_FEWEST: Final = 400
"""Blocks from which on a histogram says something: in 24 photos of 64 blocks each, chance made peaks of 0.15."""
MODES: Final = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0), (2, 2), (1, 3), (3, 1), (2, 3))
"""Frequencies down and across that most blocks have something of."""
_BIN: Final = 0.25
_BINS: Final = 2048
_COARSER: Final = 1.4
"""The former step in multiples of the file's own: peaks beside that one are its own."""
_STEPS: Final = (1.9, 90.0)
_BESIDE: Final = np.array([0.72, 0.85, 1.15, 1.28])[:, None]
"""Frequencies beside one, in multiples of it, above which a peak must stand."""
_PEAK: Final = 0.12
"""Height of a peak: of most frequencies of photos at most 0.04 if they were compressed once, else 0.2 to 0.7."""
_ENOUGH: Final = 4
"""Frequencies that must have one: none of 191 photos in seven forms had so many without reason."""


@dataclass(frozen=True)
class Compression:
    """The steps to which brightness was rounded, of the frequencies in `MODES`."""

    own: npt.NDArray[np.float64]
    """(13,) of the file itself, 1 or more; 1 for a file that is no JPEG."""
    former: npt.NDArray[np.float64]
    """(13,) of a coarser compression before, as far as it can be seen; 0 where there was none."""


def compression_of(grey: npt.NDArray[np.uint8], steps: Sequence[int] | None) -> Compression:
    """Return the steps of a file and of a coarser compression before.

    Args:
        grey: (height, width) from the first pixel on, 0 to 255.
        steps: 64 of the file itself for brightness, by rows, 1 to 65,535; None for a file that is no JPEG.
    """
    height, width = (min(size, _SIDE) // BLOCK for size in grey.shape)
    table = np.asarray(steps if steps is not None and len(steps) == BLOCK * BLOCK else np.ones(BLOCK * BLOCK))
    own = np.array([table.reshape(BLOCK, BLOCK)[mode] for mode in MODES], np.float64)
    former = np.zeros(len(MODES))
    if height * width >= _FEWEST:
        coefficients = _coefficients(grey, height, width)
        heights, places = np.array(list(map(_peak, coefficients, own.tolist()))).T
        if (heights > _PEAK).sum() >= _ENOUGH:
            former = np.where(heights > _PEAK, places, 0.0)
    return Compression(own, former)


def coarser(compressions: Sequence[Compression], contrast: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which were compressed before at least about as coarsely as another is, and less coarsely since.

    So is what was made of the file of that other. Where both are of one quality now, what they were before tells.

    Args:
        compressions: Of copies of one picture.
        contrast: (n,) of each copy, above 0: other tones scale the steps.

    Returns:
        (n, n), the copies in rows against the copies in columns.
    """
    found = np.zeros((len(compressions), len(compressions)), bool)
    for number, one in enumerate(compressions):
        seen = one.former > 0
        if not seen.any():
            continue
        for place, other in enumerate(compressions):
            gain = float(contrast[number] / contrast[place])
            since = float(np.median(np.log(one.own[seen] / other.own[seen])))
            if since < -_FINER:
                before = float(np.median(np.log(one.former[seen] / other.own[seen])))
                found[number, place] = before > np.log(gain) - _ABOUT
            both = seen & (other.former > 0)
            if abs(since) <= _FINER and both.sum() >= _ENOUGH:
                before = float(np.median(np.log(one.former[both] / other.former[both])))
                found[number, place] = before > np.log(gain) + _FINER
    return found


def _coefficients(grey: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.float32]:
    """Return the cosine coefficients of `MODES` of blocks in the middle, (modes, blocks)."""
    top, left = ((size // BLOCK - count) // 2 * BLOCK for size, count in zip(grey.shape, (height, width), strict=True))
    part = grey[top : top + BLOCK * height, left : left + BLOCK * width]
    blocks = part.astype(np.float32).reshape(height, BLOCK, width, BLOCK).transpose(0, 2, 1, 3)
    found = _COSINES @ blocks.reshape(-1, BLOCK, BLOCK) @ _COSINES.T
    return np.stack([found[:, down, across] for down, across in MODES])


def _peak(values: npt.NDArray[np.float32], own: float) -> tuple[float, float]:
    """Return how high the histogram's spectrum is at a step coarser than the file's own, and that step.

    The height is above what is beside, 0 to 1; 1 is that of values which are all multiples of the step.
    """
    bins = np.clip(np.rint(values / _BIN).astype(np.int64) + _BINS // 2, 0, _BINS - 1)
    power = np.abs(np.fft.rfft(np.bincount(bins, minlength=_BINS))) / values.size
    frequencies = np.arange(power.size) / (_BINS * _BIN)
    low, high = 1 / _STEPS[1], 1 / max(_STEPS[0], _COARSER * own)
    among = (frequencies >= low) & (frequencies <= high)
    if not among.any():
        return 0.0, own
    beside = np.interp(frequencies[among] * _BESIDE, frequencies, power).max(axis=0)
    heights = power[among] - beside
    first = int((heights >= heights.max() / 2).argmax())  # the lowest: there are others at its multiples
    while first + 1 < heights.size and heights[first + 1] > heights[first]:
        first += 1
    return float(heights.max()), float(1 / frequencies[among][first])


_ABOUT: Final = 0.3
"""By how much (natural logarithm) a former step may be finer: one that was rounded twice lies between."""
_FINER: Final = 0.12
_COSINES: Final = (
    np.asarray(np.cos(np.pi * np.outer(np.arange(4), 2 * np.arange(BLOCK) + 1) / (2 * BLOCK)) / 2, np.float32)
    * np.array([0.5**0.5, 1, 1, 1], np.float32)[:, None]
)
"""(4, 8) the first rows of the cosine transform of JPEG."""
