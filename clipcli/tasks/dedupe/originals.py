"""Find which of several copies of one picture is most likely the original.

Each copy is compared with the others by its `Detail`. An edit (enlarged, cropped, bordered, sharpened, blurred, other
tones, rotated, compressed again) can be told beside the copy that it was made from. Other edits, such as grain, are
found by the majority: edits differ from the original in different ways, so the original is the most typical copy.
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
    """(n, n): whether the copy of the row seems to be an edit of the copy of the column."""

_EMPTIED: Final = 0.45
"""Power (log10) that an enlargement lacks at the highest frequency of the smaller picture."""
_FALL: Final = 0.65
"""Fall of the power (log10) around that frequency in any picture."""
_SOMETHING: Final = 0.4
"""Power (log10) of the noise of compression."""
_ENLARGED: Final = 1.05
"""Largest ratio of the sides of two pictures that count as one size."""
_FINE: Final = 4
_CROPPED: Final = 0.15
"""Largest mean difference of power (log10) between a picture and a crop of it at the same scale."""
_SLOW: Final = 24
"""Periods in 512 pixels up to which a periodic sharpness may belong to the picture itself."""
_BESIDE_BLOCKS: Final = 4
_BEAT: Final = 52
"""In eighths of the usual strength: 3,900 pairs of a picture and a smaller one had at most 40 along one side, ..."""
_BEAT_OF_BOTH: Final = 24
"""... 23 along both, and 18 for the blocks of the smaller one; 95 of 100 enlargements reach one of the limits."""
_EQUAL: Final = 1.04
_RIM: Final = 8
"""Pixels by which sides of equal pictures may differ: a few lines may be lost when a border is cut off."""
_LOST: Final = 0.25
_OWN_BORDER: Final = 0.6
"""Share of the largest content from which a plain border counts as part of the picture."""
_VOTES: Final = 0.25
"""Share of the other copies against which a mark must show, since some of them are edits themselves."""
_SHARPENED: Final = 0.25
"""Least excess of power (log10) at fine structure of a sharpened picture."""
_MOST_SHARPENED: Final = 1.0
_PLATEAU: Final = 0.28
"""Share of that excess at half the frequency: in 22 photos 0.27 to 0.9 for sharpening and 0.18 to 0.27 for blur."""
_BLURRED: Final = 0.6
_FINE_DETAIL: Final = 1.2
"""Least power (log10) of real detail at those frequencies: 31 photos had 1.59 or more, compression noise 0.7."""
_FULL: Final = 253
_BLACK: Final = 2
_DEPTH: Final = 16
"""Distance from the lightest or the darkest shade, in grey values, that compression does not cause."""
_CUT: Final = 2
"""Of 128 shades, how many must be clipped: 1.5 % of the pixels."""
_TINTED: Final = 3
_WHITE: Final = 245
_GREYER: Final = 0.9
_PLAIN_CORNERS: Final = 8
_CORNERS: Final = 24
_MAJORITY: Final = 3
"""Least number of copies for which the most typical one means anything."""
_NEAR_THE_BEST: Final = 3000
_TYPICAL: Final = 0.025
"""Distance from the median that counts as 0: JPEG quality 95 causes 0.01, grain or a rotation 0.05 to 0.2."""


def detail_losses(details: Sequence[Detail]) -> list[int]:
    """Return a rank for each copy of one picture, 0 for the most real detail; larger for more loss.

    Enlarged copies come last, before them those that show less of the picture, then those with a plain border, then
    those with marks of editing: sharpened, blurred, rotated, darkened, clipped or compressed again.
    """
    enlarged = [any(_is_enlarged(detail, other) for other in details) for detail in details]
    most = max((detail.pixels for detail, is_larger in zip(details, enlarged, strict=True) if not is_larger), default=1)
    lost = [0 if is_larger else _loss(detail, most) for detail, is_larger in zip(details, enlarged, strict=True)]
    best = [number for number, steps in enumerate(lost) if not steps and not enlarged[number]]
    marked = dict(zip(best, _marks([details[number] for number in best]), strict=True))
    least = min((details[number].total for number in best), default=1)
    losses = []
    for number, detail in enumerate(details):
        total = detail.total / (max(detail.pixels, least) if number in marked else detail.pixels)
        border = min(99, round(10 * (total - 1))) if total > _EQUAL else 0
        losses.append(100_000 * enlarged[number] + 1000 * lost[number] + 10 * border + marked.get(number, 0))
    return losses


def _loss(detail: Detail, most: int) -> int:
    """Return how much less a copy shows than the largest one, in steps of 25 %; 0 for (nearly) equal content."""
    pixels = detail.pixels if detail.pixels < _OWN_BORDER * most else detail.total
    less = float(np.log(most / pixels))
    return 0 if less < np.log(_EQUAL) or most <= (pixels**0.5 + _RIM) ** 2 else min(99, 1 + int(less / _LOST))


def _marks(details: Sequence[Detail]) -> list[int]:
    """Return the number of marks of editing of each copy, 0 to 6; all of them show equally much."""
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
    """Return (n,) the copies for which the table is true against enough of the others."""
    return np.asarray(table.sum(axis=1) >= max(1.0, _VOTES * (len(table) - 1)))


def _sharpness(details: Sequence[Detail]) -> tuple[_Table, _Table]:
    """Return which copies are sharper than which others, as by sharpening, and which are softer, as by blur."""
    power = np.stack([one.power for one in details])
    levels = np.stack([power[:, 7:10].mean(axis=1), power[:, 3:5].mean(axis=1)]) - power[:, 1]
    more, sooner = levels[:, :, None] - levels[:, None]
    sharpened = (more > _SHARPENED) & (more <= _MOST_SHARPENED) & (sooner > _PLATEAU * more)
    blurred = (more < -_MOST_SHARPENED) | ((more < -_BLURRED) & (sooner >= _PLATEAU * more))
    # A smooth picture is not softer than its JPEG file, which only has the noise of compression there.
    has_detail = power[:, 7:10].mean(axis=1) > _FINE_DETAIL
    return sharpened, blurred & has_detail


def _contrast(one: Detail) -> float:
    middle = one.shades[:, SHADES // 8 : -SHADES // 8].astype(np.float64)
    return max(1.0, float(np.ptp(middle, axis=1).mean()))


def _cut(details: Sequence[Detail]) -> _Table:
    """Return which copies have clipped shades where those of another copy are still distinct."""
    shades = np.stack([one.shades for one in details]).astype(np.int16)
    full, black = shades >= _FULL, shades <= _BLACK
    below, above = shades + _DEPTH <= shades[..., -1:], shades >= shades[..., :1] + _DEPTH
    counts = [
        np.einsum("ick,jck->ijc", clipped.astype(np.float32), distinct.astype(np.float32)).max(axis=2)
        for clipped, distinct in ((full, below), (black, above))
    ]
    return np.asarray((np.maximum(*counts) >= _CUT) & _both_coloured(details))


def _turned(details: Sequence[Detail]) -> _Table:
    """Return which copies have corners of one shade, as after a rotation, where another has not."""
    corners = np.array([one.corners for one in details])
    return np.asarray((corners <= _PLAIN_CORNERS)[:, None] & (corners > _CORNERS))


def _darkened(details: Sequence[Detail]) -> _Table:
    """Return which copies have grey as their lightest shade where that of another is white."""
    lightest = np.array([int(one.shades[:, -1].max()) for one in details])
    return np.asarray((lightest >= _WHITE) & (lightest[:, None] < _GREYER * lightest) & _both_coloured(details))


def _both_coloured(details: Sequence[Detail]) -> _Table:
    """Return which pairs are both coloured, so that their shades can be compared."""
    coloured = np.array([np.ptp(one.shades.astype(np.int16), axis=0).max() > _TINTED for one in details])
    return np.asarray(coloured & coloured[:, None])


def distances_from_typical(details: Sequence[Detail], losses: Sequence[int]) -> list[int]:
    """Return the distance of each copy from the median of the copies, in steps; 0 for fewer than three.

    Args:
        details: Those of the copies.
        losses: Their `detail_losses`. Only copies near the best are compared: a crop or a border does not change the
            spectrum, but half the size does.
    """
    best = [number for number, loss in enumerate(losses) if loss < min(losses) + _NEAR_THE_BEST]
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
    """Return whether a copy was enlarged: it has no detail at frequencies where a smaller copy still has some."""
    scale = (large.pixels / small.pixels) ** 0.5
    if scale < _ENLARGED or float(np.abs(large.power - small.power)[_FINE:].mean()) < _CROPPED:
        return False
    if _is_periodic_as(large, small):
        return True
    places = np.arange(BANDS) + 0.5
    ends = np.array([0.75, 0.85]) * BANDS
    there = np.interp(ends, places, small.power)
    if float(there.mean()) < _SOMETHING:
        return False  # the smaller copy has no detail there either, so nothing can be told
    here = np.interp(ends / scale, places, large.power)
    before, behind = np.interp(np.array([0.8, 1.25]) * BANDS / scale, places, large.power)
    fall = float(before - behind) - _FALL
    return bool(float((there - here).mean()) + 2 * np.log10(scale) + fall > _EMPTIED)


def _is_periodic_as(large: Detail, small: Detail) -> bool:
    """Return whether the sharpness of a copy is periodic, as after enlarging a smaller copy.

    The period is that of a pixel of the smaller copy, or of one of its blocks of 8 if it was a JPEG file.
    """
    shares = [less / more for more, less in zip(large.content[::-1], small.content[::-1], strict=True)]
    pixels = [_strength(beats, [share]) for beats, share in zip(large.beats, shares, strict=True)]
    blocks = [
        _strength(beats, [share * number / BLOCK for number in range(1, BLOCK)])
        for beats, share in zip(large.beats, shares, strict=True)
    ]
    return max(pixels) >= _BEAT or max(min(pixels), min(blocks)) >= _BEAT_OF_BOTH


def _strength(beats: npt.NDArray[np.uint8], frequencies: Sequence[float]) -> float:
    """Return the mean strength at some frequencies (cycles per pixel), without those of the picture's own blocks."""
    own = SIDE // BLOCK
    places = [abs(frequency - round(frequency)) * SIDE for frequency in frequencies]
    heard = [int(beats[int(place)]) for place in places
             if _SLOW < place < SIDE // 2 - 2 and abs(place - round(place / own) * own) >= _BESIDE_BLOCKS]  # fmt: skip
    return sum(heard) / len(heard) if heard else 0.0
