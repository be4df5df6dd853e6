"""How much of a picture is real: an enlarged or bordered one has more pixels and no more detail, nor a sharpened one.

Spectra of copies of one picture are held against each other: what one has beyond the others at frequencies that all of
them carry is sharpening, what it lacks there is blur. Grain, other tones and other colours are told by the majority:
edits differ from the original in different ways, so that it is the most typical of three or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.tasks.dedupe.sheets import Sheet

_BANDS: Final = 20
_SIDE: Final = 512
_SMALLEST: Final = 16
_EMPTIED: Final = 0.25
"""Power (log10) that an enlargement lacks where the smaller picture ends: what lies between pixels was not there."""
_FALL: Final = 0.65
"""By how much the power (log10) of any picture falls there."""
_SOMETHING: Final = 0.4
"""Power (log10) below which there is only noise of compression."""
_ENLARGED: Final = 1.05
"""Up to this much in width and height two pictures are of one size."""
_SHARPENED: Final = 0.25
"""Power (log10) above the others of a group from where on a picture was sharpened."""
_NATURAL: Final = (-3.6, -2.7)
"""Slopes of two spectra above which they are of a picture and its sharpened edit, not of one and its blurred."""
_EQUAL: Final = 1.04
_LOST: Final = 0.25
_MAJORITY: Final = 3
"""Copies from which on there is a typical one."""
_NEAR_THE_BEST: Final = 300
_TYPICAL: Final = 0.025
"""Distance from the median of a group that counts as none: JPEG quality 95 leaves 0.01, grain or a turn 0.05 to 0.2."""
_TONE: Final = 20.0
"""Grey values that are as much as a power of ten."""
_TONE_SIDE: Final = 32


@dataclass(frozen=True)
class Spectrum:
    """The detail of the middle of a picture at each scale."""

    power: npt.NDArray[np.float64]
    """(20,) log10 of the power, from the whole picture to single pixels."""
    pixels: int
    """Of the content, without plain borders."""
    waste: float
    """All pixels in multiples of `pixels`."""
    tone: npt.NDArray[np.float64]
    """(4,) means of grey values, Cb and Cr in twenties, and log10 of how much the colours vary."""


def spectrum(grey: npt.NDArray[np.uint8], sheet: Sheet) -> Spectrum:
    """Return the spectrum of the middle of a picture at full size.

    Args:
        grey: (height, width).
        sheet: The sheet of it, which knows where it lies without plain borders.
    """
    height, width = grey.shape
    top, bottom, left, right = sheet.stretches[-1]
    rows = slice(round(top * height), max(round(bottom * height), round(top * height) + 1))
    columns = slice(round(left * width), max(round(right * width), round(left * width) + 1))
    part = grey[rows, columns]
    side = min(_SIDE, *part.shape) // 2 * 2
    pixels = part.shape[0] * part.shape[1]
    if side < _SMALLEST:
        return Spectrum(np.full(_BANDS, -3.0), pixels, grey.size / pixels, _tone(sheet))
    low, first = (part.shape[0] - side) // 2, (part.shape[1] - side) // 2
    middle = part[low : low + side, first : first + side].astype(np.float32)
    window = np.hanning(side)[:, None] * np.hanning(side)[None, :]
    found = np.abs(np.fft.rfft2((middle - middle.mean()) * window)) ** 2 / (window**2).sum()
    down = np.fft.fftfreq(side)[:, None] * 2
    across = np.fft.rfftfreq(side)[None, :] * 2
    band = np.minimum(np.hypot(down, across) * _BANDS, _BANDS).astype(np.int64).ravel()
    sums = np.bincount(band, found.ravel(), _BANDS + 1)[:_BANDS]
    counts = np.maximum(np.bincount(band, minlength=_BANDS + 1)[:_BANDS], 1)
    return Spectrum(np.log10(sums / counts + 1e-3), pixels, grey.size / pixels, _tone(sheet))


def standings(spectra: Sequence[Spectrum]) -> list[int]:
    """Return how copies of one picture stand among each other: the smaller, the more of it is real.

    Behind all others stand what was enlarged or sharpened, then what shows less, then what has a plain border.
    """
    most = max((one.pixels for one in spectra), default=1)
    made = [any(_is_enlarged(one, other) for other in spectra) for one in spectra]
    if len(spectra) > 2 or not any(made):  # noqa: PLR2004 - beside an enlargement anything looks sharp
        made = [one or other for one, other in zip(made, _sharpened(spectra), strict=True)]
    found = []
    for number, one in enumerate(spectra):
        less = float(np.log(most / one.pixels))
        lost = 0 if less < np.log(_EQUAL) else min(99, 1 + int(less / _LOST))
        found.append(10_000 * made[number] + 100 * lost + min(99, round(10 * (one.waste - 1))))
    return found


def distances_from_typical(spectra: Sequence[Spectrum], places: Sequence[int]) -> list[int]:
    """Return how far each copy of one picture is from what most are like, in steps; 0 where there is no majority.

    Args:
        spectra: Of the copies.
        places: Their `standings`. Only those that stand near the best are held against each other: a crop or a border
            leaves the spectrum as it is, half the size does not.
    """
    best = [number for number, place in enumerate(places) if place < min(places) + _NEAR_THE_BEST]
    steps = [0] * len(spectra)
    if len(best) < _MAJORITY:
        return steps
    powers = np.stack([spectra[number].power[1:] for number in best])
    tones = np.stack([spectra[number].tone for number in best])
    distances = np.sqrt(((powers - np.median(powers, axis=0)) ** 2).mean(axis=1))
    distances = np.maximum(distances, np.abs(tones - np.median(tones, axis=0)).max(axis=1))
    for number, distance in zip(best, distances.tolist(), strict=True):
        steps[number] = int(distance / _TYPICAL)
    return steps


def _tone(sheet: Sheet) -> npt.NDArray[np.float64]:
    content = sheet.stretches[-1]
    grey, colours = sheet.cut(content, _TONE_SIDE), sheet.colours(content, _TONE_SIDE)
    means = colours.mean(axis=(1, 2))
    vary = float(((colours - means[:, None, None]) ** 2).mean())
    return np.array([float(grey.mean()) / _TONE, *(means / _TONE), np.log10(vary + 1)])


def _sharpened(spectra: Sequence[Spectrum]) -> list[bool]:
    if len(spectra) < 2:  # noqa: PLR2004 - nothing to be held against
        return [False] * len(spectra)
    smallest = min(one.pixels for one in spectra)
    excess = np.array([_contrast(one, smallest) for one in spectra])
    if len(spectra) > 2:  # noqa: PLR2004 - a pair has no majority
        return [bool(value) for value in excess > np.median(excess) + _SHARPENED]
    high, low = (_slope(spectra[int(place)]) for place in (excess.argmax(), excess.argmin()))
    if float(np.ptp(excess)) <= _SHARPENED or low < _NATURAL[0] or high < _NATURAL[1]:
        return [False] * len(spectra)
    return [bool(value) for value in excess == excess.max()]


def _is_enlarged(large: Spectrum, small: Spectrum) -> bool:
    """Return whether one holds nothing of its own where another, which is smaller, still holds something."""
    scale = (large.pixels / small.pixels) ** 0.5
    if scale < _ENLARGED:
        return False
    places = np.arange(_BANDS) + 0.5
    ends = np.array([0.75, 0.85]) * _BANDS
    there = np.interp(ends, places, small.power)
    if float(there.mean()) < _SOMETHING:
        return False  # the smaller ends in nothing too: it cannot tell
    here = np.interp(ends / scale, places, large.power)
    before, behind = np.interp(np.array([0.8, 1.25]) * _BANDS / scale, places, large.power)
    fall = float(before - behind) - _FALL
    return bool(float((there - here).mean()) + 2 * np.log10(scale) + fall > _EMPTIED)


def _contrast(one: Spectrum, smallest: int) -> float:
    """Power at a fine structure that the smallest still has, above that at a coarse one."""
    share = (smallest / one.pixels) ** 0.5
    places = np.arange(_BANDS) + 0.5
    fine, coarse = (np.interp(_BANDS * place * share, places, one.power) for place in (0.4, 0.1))
    return float(fine - coarse)


def _slope(one: Spectrum) -> float:
    places = slice(2, _BANDS // 2)
    return float(np.polyfit(np.log10(np.arange(_BANDS)[places] + 0.5), one.power[places], 1)[0])
