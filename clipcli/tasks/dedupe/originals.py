"""Which of several copies of one picture is most likely the original.

Each copy is held against the others by its `Detail`. What was made of another by enlarging, cropping, a border,
sharpening, blur, other tones, a turn or one more compression shows it beside that other; grain and what else shows
nothing is told by the majority: edits differ from the original in different ways, so that it is the most typical.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.tasks.dedupe.detail import BANDS, SHADES, SIDE
from clipcli.tasks.dedupe.recompression import BLOCK, coarser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.tasks.dedupe.detail import Detail

    _Table = npt.NDArray[np.bool_]
    """(n, n) whether the copy of the row was made of something like that of the column."""

_EMPTIED: Final = 0.45
"""Power (log10) that an enlargement lacks where the smaller picture ends: what lies between pixels was not there."""
_FALL: Final = 0.65
"""By how much the power (log10) of any picture falls there."""
_SOMETHING: Final = 0.4
"""Power (log10) below which there is only noise of compression."""
_ENLARGED: Final = 1.05
"""Up to this much in width and height two pictures are of one size."""
_FINE: Final = 4
_CROPPED: Final = 0.15
"""Mean difference of the power (log10) of a picture and a crop of it, whose pixels are of one size."""
_SLOW: Final = 24
"""Beats in 512 pixels that are the picture's own."""
_BESIDE_BLOCKS: Final = 4
_BEAT: Final = 52
"""In eighths of what is usual: in 3,900 pairs of a picture and a smaller one at most 40 along one side ..."""
_BEAT_OF_BOTH: Final = 24
"""... 23 along both, and 18 for the blocks of the smaller one; 95 of 100 enlarged ones reach one of these."""
_EQUAL: Final = 1.04
_RIM: Final = 8
"""Pixels by which the sides of two pictures of one size may differ: lines beside a border that was taken away."""
_LOST: Final = 0.25
_OWN_BORDER: Final = 0.6
"""Share of the most content from which on a plain border may be part of the picture."""
_VOTES: Final = 0.25
"""Share of the other copies that must tell a mark of editing, so that one that is edited itself cannot."""
_SHARPENED: Final = 0.25
"""Power (log10) at fine structure beyond another copy from where on a picture was sharpened."""
_MOST_SHARPENED: Final = 1.0
_PLATEAU: Final = 0.28
"""Share of it at half that frequency, in 22 photos 0.27 to 0.9 for sharpening and 0.18 to 0.27 for blur."""
_BLURRED: Final = 0.6
_FULL: Final = 253
_BLACK: Final = 2
_DEPTH: Final = 16
"""Grey values below the lightest, or above the darkest, that no compression makes of it."""
_CUT: Final = 2
"""Of 128 shades that are full or black: 1.5 % of the pixels."""
_TINTED: Final = 3
_WHITE: Final = 245
_GREYER: Final = 0.9
_PLAIN_CORNERS: Final = 8
_CORNERS: Final = 24
_MAJORITY: Final = 3
"""Copies from which on there is a typical one."""
_NEAR_THE_BEST: Final = 3000
_TYPICAL: Final = 0.025
"""Distance from the median of a group that counts as none: JPEG quality 95 leaves 0.01, grain or a turn 0.05 to 0.2."""


def standings(details: Sequence[Detail]) -> list[int]:
    """Return how copies of one picture stand among each other: the smaller, the more of it is real.

    Behind all others stands what was enlarged, then what shows less, then what has a plain border, then what was
    sharpened, blurred, turned, darkened, cut off in its tones or compressed once more.
    """
    enlarged = [any(_is_enlarged(one, other) for other in details) for one in details]
    most = max((one.pixels for one, made in zip(details, enlarged, strict=True) if not made), default=1)
    lost = [0 if made else _loss(one, most) for one, made in zip(details, enlarged, strict=True)]
    best = [number for number, value in enumerate(lost) if not value and not enlarged[number]]
    marked = dict(zip(best, _marks([details[number] for number in best]), strict=True))
    least = min((details[number].total for number in best), default=1)
    found = []
    for number, one in enumerate(details):
        border = one.total / max(one.pixels, least) if number in marked else one.total / one.pixels
        around = min(99, round(10 * (border - 1))) if border > _EQUAL else 0
        found.append(100_000 * enlarged[number] + 1000 * lost[number] + 10 * around + marked.get(number, 0))
    return found


def _loss(one: Detail, most: int) -> int:
    """Return how much less one shows than the most, in steps; its plain border may be part of what it shows."""
    pixels = one.pixels if one.pixels < _OWN_BORDER * most else one.total
    less = float(np.log(most / pixels))
    return 0 if less < np.log(_EQUAL) or most <= (pixels**0.5 + _RIM) ** 2 else min(99, 1 + int(less / _LOST))


def _marks(details: Sequence[Detail]) -> list[int]:
    """Return how many marks of editing each of some copies bears that show as much, 0 to 6."""
    if not details:
        return []
    sharpened, blurred = _sharpness(details)
    contrast = np.array([_contrast(one) for one in details])
    cut = _cut(details)
    recompressed = coarser([one.compression for one in details], contrast)
    turned = _turned(details)
    tables = (sharpened, blurred, cut & ~cut.T, turned)
    marks = sum((_voted(table) for table in tables), recompressed.any(axis=1).astype(np.int64))
    clean = marks == 0
    darkened = _voted(_darkened(details) & ~cut.T & clean)
    return [int(mark) for mark in marks + darkened]


def _voted(table: _Table) -> npt.NDArray[np.bool_]:
    """Return which copies enough of the others say it of."""
    return np.asarray(table.sum(axis=1) >= max(1.0, _VOTES * (len(table) - 1)))


def _sharpness(details: Sequence[Detail]) -> tuple[_Table, _Table]:
    """Return what is another one with more contrast at its edges, and what is one with softer edges."""
    power = np.stack([one.power for one in details])
    levels = np.stack([power[:, 7:10].mean(axis=1), power[:, 3:5].mean(axis=1)]) - power[:, 1]
    more, sooner = levels[:, :, None] - levels[:, None]
    sharpened = (more > _SHARPENED) & (more <= _MOST_SHARPENED) & (sooner > _PLATEAU * more)
    blurred = (more < -_MOST_SHARPENED) | ((more < -_BLURRED) & (sooner >= _PLATEAU * more))
    return sharpened, blurred


def _contrast(one: Detail) -> float:
    middle = one.shades[:, SHADES // 8 : -SHADES // 8].astype(np.float64)
    return max(1.0, float(np.ptp(middle, axis=1).mean()))


def _cut(details: Sequence[Detail]) -> _Table:
    """Return what has full or black colours where those of the other differ from each other."""
    shades = np.stack([one.shades for one in details]).astype(np.int16)
    full, black = shades >= _FULL, shades <= _BLACK
    below, above = shades + _DEPTH <= shades[..., -1:], shades >= shades[..., :1] + _DEPTH
    counts = [
        np.einsum("ick,jck->ijc", mine.astype(np.float32), its.astype(np.float32)).max(axis=2)
        for mine, its in ((full, below), (black, above))
    ]
    return np.asarray((np.maximum(*counts) >= _CUT) & _both_coloured(details))


def _turned(details: Sequence[Detail]) -> _Table:
    """Return what has corners of one shade beside another that has not."""
    corners = np.array([one.corners for one in details])
    return np.asarray((corners <= _PLAIN_CORNERS)[:, None] & (corners > _CORNERS))


def _darkened(details: Sequence[Detail]) -> _Table:
    """Return whose lightest shade is grey where that of another is white."""
    lightest = np.array([int(one.shades[:, -1].max()) for one in details])
    return np.asarray((lightest >= _WHITE) & (lightest[:, None] < _GREYER * lightest) & _both_coloured(details))


def _both_coloured(details: Sequence[Detail]) -> _Table:
    """Return which two have other shades of red than of blue, so that these can be held against each other."""
    coloured = np.array([np.ptp(one.shades.astype(np.int16), axis=0).max() > _TINTED for one in details])
    return np.asarray(coloured & coloured[:, None])


def distances_from_typical(details: Sequence[Detail], places: Sequence[int]) -> list[int]:
    """Return how far each copy of one picture is from what most are like, in steps; 0 where there is no majority.

    Args:
        details: Of the copies.
        places: Their `standings`. Only those that stand near the best are held against each other: a crop or a border
            leaves the spectrum as it is, half the size does not.
    """
    best = [number for number, place in enumerate(places) if place < min(places) + _NEAR_THE_BEST]
    steps = [0] * len(details)
    if len(best) < _MAJORITY:
        return steps
    powers = np.stack([details[number].power[1:] for number in best])
    tones = np.stack([details[number].tone for number in best])
    distances = np.sqrt(((powers - np.median(powers, axis=0)) ** 2).mean(axis=1))
    distances = np.maximum(distances, np.abs(tones - np.median(tones, axis=0)).max(axis=1))
    for number, distance in zip(best, distances.tolist(), strict=True):
        steps[number] = int(distance / _TYPICAL)
    return steps


def _is_enlarged(large: Detail, small: Detail) -> bool:
    """Return whether one holds nothing of its own where another, which is smaller, still holds something."""
    scale = (large.pixels / small.pixels) ** 0.5
    if scale < _ENLARGED or float(np.abs(large.power - small.power)[_FINE:].mean()) < _CROPPED:
        return False
    if _beats_as(large, small):
        return True
    places = np.arange(BANDS) + 0.5
    ends = np.array([0.75, 0.85]) * BANDS
    there = np.interp(ends, places, small.power)
    if float(there.mean()) < _SOMETHING:
        return False  # the smaller ends in nothing too: it cannot tell
    here = np.interp(ends / scale, places, large.power)
    before, behind = np.interp(np.array([0.8, 1.25]) * BANDS / scale, places, large.power)
    fall = float(before - behind) - _FALL
    return bool(float((there - here).mean()) + 2 * np.log10(scale) + fall > _EMPTIED)


def _beats_as(large: Detail, small: Detail) -> bool:
    """Return whether the sharpness of one beats as that of another, smaller one does when it is enlarged.

    It beats once for each pixel of the smaller, or once for each of its blocks, where that was a JPEG file.
    """
    shares = [its / mine for mine, its in zip(large.content[::-1], small.content[::-1], strict=True)]
    pixels = [_strength(beats, [share]) for beats, share in zip(large.beats, shares, strict=True)]
    blocks = [
        _strength(beats, [share * number / BLOCK for number in range(1, BLOCK)])
        for beats, share in zip(large.beats, shares, strict=True)
    ]
    return max(pixels) >= _BEAT or max(min(pixels), min(blocks)) >= _BEAT_OF_BOTH


def _strength(beats: npt.NDArray[np.uint8], frequencies: Sequence[float]) -> float:
    """Return the mean strength at some frequencies (cycles per pixel), but for those of the picture's own blocks."""
    own = SIDE // BLOCK
    places = [abs(frequency - round(frequency)) * SIDE for frequency in frequencies]
    heard = [int(beats[int(place)]) for place in places
             if _SLOW < place < SIDE // 2 - 2 and abs(place - round(place / own) * own) >= _BESIDE_BLOCKS]  # fmt: skip
    return sum(heard) / len(heard) if heard else 0.0
