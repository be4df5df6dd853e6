"""Detect whether a picture was a JPEG file of coarser quality before it was saved as the present file.

The first compression rounds the cosine coefficients of each block to multiples of its quantisation steps. A second one
with finer steps moves them only a little, so their histogram has gaps (Lukas and Fridrich, "Estimation of Primary
Quantization Matrix in Double Compressed JPEG Images", 2003). Regular gaps are a peak in the spectrum of the histogram.
A change of tones in between scales the steps and keeps the gaps; resizing, rotating or cropping destroys them.
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
"""Least number of blocks: in 24 photos of 64 blocks each, peaks of 0.15 came by chance."""
MODES: Final = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0), (2, 2), (1, 3), (3, 1), (2, 3))
"""Frequencies (down, across) at which most blocks have nonzero coefficients."""
_BIN: Final = 0.25
_BINS: Final = 2048
_COARSER: Final = 1.4
"""Least former step in multiples of the file's own; peaks below it belong to the file's own step."""
_STEPS: Final = (1.9, 90.0)
_BESIDE: Final = np.array([0.72, 0.85, 1.15, 1.28])[:, None]
"""Neighbouring frequencies, in multiples of a peak's, to which its height is relative."""
_PEAK: Final = 0.12
"""Least height of a peak. Photos that were compressed once have at most 0.04 at most frequencies, others 0.2 to 0.7."""
_ENOUGH: Final = 4
"""Least number of frequencies with a peak: none of 191 photos in seven forms had so many false ones."""


@dataclass(frozen=True)
class Compression:
    """Quantisation steps of brightness, at the frequencies in `MODES`."""

    own: npt.NDArray[np.float64]
    """(13,) steps of the file itself, 1 or more; 1 if it is no JPEG file."""
    former: npt.NDArray[np.float64]
    """(13,) steps of a coarser compression before; 0 if none was found."""


def compression_of(grey: npt.NDArray[np.uint8], steps: Sequence[int] | None) -> Compression:
    """Return the quantisation steps of a file, and those of a coarser compression before it.

    Args:
        grey: (height, width) uint8, uncropped, so that the blocks start at its first pixel.
        steps: The 64 steps of brightness of the file, by rows, 1 to 65,535; None if it is no JPEG file.
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
    """Return which copies were once compressed about as coarsely as another copy is, and more finely since.

    Such a copy was probably made from that other file. If both have the same quality now, their former steps decide.

    Args:
        compressions: Those of n copies of one picture.
        contrast: (n,) contrast of each copy, above 0; a change of contrast scales the steps.

    Returns:
        (n, n) bool: the copy of the row against the copy of the column.
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
    """Return (modes, blocks): the cosine coefficients at `MODES` of the blocks in the middle."""
    top, left = ((size // BLOCK - count) // 2 * BLOCK for size, count in zip(grey.shape, (height, width), strict=True))
    part = grey[top : top + BLOCK * height, left : left + BLOCK * width]
    blocks = part.astype(np.float32).reshape(height, BLOCK, width, BLOCK).transpose(0, 2, 1, 3)
    found = _COSINES @ blocks.reshape(-1, BLOCK, BLOCK) @ _COSINES.T
    return np.stack([found[:, down, across] for down, across in MODES])


def _peak(values: npt.NDArray[np.float32], own: float) -> tuple[float, float]:
    """Return the highest peak of the histogram's spectrum for steps coarser than the file's own, and its step.

    The height is relative to the neighbouring frequencies, 0 to 1; it is 1 if all values are multiples of the step.
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
    first = int((heights >= heights.max() / 2).argmax())  # the lowest peak; the others are its harmonics
    while first + 1 < heights.size and heights[first + 1] > heights[first]:
        first += 1
    return float(heights.max()), float(1 / frequencies[among][first])


_ABOUT: Final = 0.3
"""Tolerance of former steps, as natural logarithm: coefficients that were rounded twice give steps in between."""
_FINER: Final = 0.12
_COSINES: Final = (
    np.asarray(np.cos(np.pi * np.outer(np.arange(4), 2 * np.arange(BLOCK) + 1) / (2 * BLOCK)) / 2, np.float32)
    * np.array([0.5**0.5, 1, 1, 1], np.float32)[:, None]
)
"""(4, 8) the first rows of the cosine transform of JPEG."""
