"""Align pairs of sheets: find the regions that show the same, and the motion of the second onto the first.

The starting points are windows at 16 × 16; from there the motion is fitted from coarse to fine (`motion`). Many pairs
are aligned together, because at coarse sizes the overhead of a numpy call is larger than its arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from clipcli.tasks.dedupe.motion import STILL, Mask, Motion, blurred, correlation, fit, uncovered
from clipcli.tasks.dedupe.sheets import Grey, Region, area, span, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.tasks.dedupe.motion import Fits
    from clipcli.tasks.dedupe.sheets import Sheet

    SheetPair = tuple[Sheet, Sheet]

_COARSE: Final = 64
_MIDDLE: Final = 128
_PHOTO: Final = 256
DRAWN: Final = 0.3
_DRAWN_SIDE: Final = 640
_SMALLEST: Final = 32
_LEAST_START: Final = 0.5
"""Least correlation of two windows at 16 × 16 to start from."""
_STARTING_POINTS: Final = 3
_BETTER: Final = 0.01
"""Gain in correlation by which a later starting point must be better; whole pictures come first."""
_ONE_SHADE: Final = 16
"""Largest difference of the grey values of two plain borders of one shade."""
_FITS: Final = 0.6
"""Least correlation at 64 × 64 for the fit at finer sizes."""
_TOGETHER: Final = 1 << 17
"""Most pixels of each side of the pairs that are aligned together at the finest size."""


@dataclass(frozen=True)
class AlignedPair:
    """Regions of two pictures at one size, the second moved onto the first."""

    first: Grey
    """(side, side), 0 to 255."""
    second: Grey
    covered: Mask
    """(side, side) True for pixels that lie inside the moved second picture."""
    frames: tuple[Region, Region]
    """The regions that were aligned."""
    regions: tuple[Region, Region]
    """The shared part of each picture."""
    motion: Motion
    correlation: float


class _Coarse(NamedTuple):
    """The best fit of a pair so far, at 64 × 64."""

    value: float
    first_region: Region
    second_region: Region
    motion: Motion


class _Frames(NamedTuple):
    """The regions of a pair to align at the finest size, and that size."""

    number: int
    """Index of the pair."""
    first_region: Region
    second_region: Region
    motion: Motion
    side: int


def align(pairs: Sequence[SheetPair]) -> list[AlignedPair | None]:
    """Return the best alignment of each pair of sheets; None if they do not show the same."""
    aligned: list[AlignedPair | None] = [None] * len(pairs)
    frames = []
    for number, (pair, best) in enumerate(zip(pairs, _best_coarse_fits(pairs), strict=True)):
        if best is not None and best.value >= _FITS:
            first_region, second_region, motion = _extended(
                best.first_region, best.second_region, best.motion, _contents(*pair)
            )
            frames.append(
                _Frames(number, first_region, second_region, motion, _side(*pair, first_region, second_region))
            )
    for batch in _batches(frames):
        for frame, pair_aligned in zip(batch, _align_frames(pairs, batch), strict=True):
            aligned[frame.number] = pair_aligned
    return aligned


def _best_coarse_fits(pairs: Sequence[SheetPair]) -> list[_Coarse | None]:
    """Return the best fit at 64 × 64 of each pair; further starting points are tried while the fit is not good."""
    starting_points = [_starting_points(*pair) for pair in pairs]
    best: list[_Coarse | None] = [None] * len(pairs)
    cut = _cached_cut()
    for turn in range(_STARTING_POINTS):
        due = [n for n, some in enumerate(starting_points) if turn < len(some) and (_value(best[n]) <= 1 - _BETTER)]
        if not due:
            break
        tried = [starting_points[number][turn] for number in due]
        first = np.stack([cut(pairs[n][0], first_region) for n, (first_region, _) in zip(due, tried, strict=True)])
        second = np.stack([cut(pairs[n][1], second_region) for n, (_, second_region) in zip(due, tried, strict=True)])
        fits = fit(blurred(first), blurred(second), np.tile(STILL, (len(due), 1, 1)), 6)
        for number, regions, value, motion in zip(due, tried, fits.value.tolist(), fits.motion, strict=True):
            if best[number] is None or value > _value(best[number]) + _BETTER:
                best[number] = _Coarse(value, *regions, motion)
    return best


def _value(best: _Coarse | None) -> float:
    return -1.0 if best is None else best.value


def _cached_cut() -> Callable[[Sheet, Region], Grey]:
    """Return a function that cuts regions at 64 × 64 and keeps them, so that each is cut once."""
    kept: dict[tuple[int, Region], Grey] = {}

    def cut(sheet: Sheet, region: Region) -> Grey:
        key = id(sheet), region
        if key not in kept:
            kept[key] = sheet.cut(region, _COARSE)
        return kept[key]

    return cut


def _batches(frames: Sequence[_Frames]) -> list[list[_Frames]]:
    """Return batches of frames of one size, with a bounded number of pixels each."""
    batches: list[list[_Frames]] = []
    for one in sorted(frames, key=lambda frame: frame.side):
        last = batches[-1] if batches else []
        if not last or last[0].side != one.side or len(last) * one.side**2 >= _TOGETHER:
            batches.append(last := [])
        last.append(one)
    return batches


def _align_frames(pairs: Sequence[SheetPair], frames: Sequence[_Frames]) -> list[AlignedPair]:
    """Align frames of one size, first at 128 × 128 if that is smaller."""
    side = frames[0].side
    first = np.stack([pairs[one.number][0].cut(one.first_region, side) for one in frames])
    second = np.stack([pairs[one.number][1].cut(one.second_region, side) for one in frames])
    motion = np.stack([one.motion for one in frames])
    if side > _MIDDLE:
        smaller = span(0.0, 1.0, side, _MIDDLE)
        motion = fit(smaller @ first @ smaller.T, smaller @ second @ smaller.T, motion, 4).motion
    fits = fit(first, second, motion, 2)
    return [_aligned(one, first[place], motion[place], fits, place) for place, one in enumerate(frames)]


def _aligned(frames: _Frames, first: Grey, before: Motion, fits: Fits, place: int) -> AlignedPair:
    motion, moved, covered = fits.motion[place], fits.moved[place], fits.covered[place]
    value = correlation(first, moved, covered)
    if not np.array_equal(motion, before):
        value -= uncovered(covered)
    shared = _shared(frames.first_region, frames.second_region, covered, motion)
    return AlignedPair(first, moved, covered, (frames.first_region, frames.second_region), shared, motion, value)


def _shared(first_region: Region, second_region: Region, covered: Mask, motion: Motion) -> tuple[Region, Region]:
    """Return the parts of the two regions that both pictures show."""
    side = len(covered)
    rows, columns = (np.flatnonzero(covered.mean(axis=axis) > 0.5) for axis in (1, 0))  # noqa: PLR2004 - half a line
    if not len(rows) or not len(columns):
        return first_region, second_region
    box = tuple(float(edge) / side for edge in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    top, bottom, left, right = box
    corners = np.array([[x - 0.5, y - 0.5, 1.0] for y in (top, bottom) for x in (left, right)]) @ motion.T + 0.5
    low, high = np.clip(corners.min(axis=0), 0, 1), np.clip(corners.max(axis=0), 0, 1)
    return within(first_region, (top, bottom, left, right)), within(
        second_region, (float(low[1]), float(high[1]), float(low[0]), float(high[0]))
    )


def _contents(one: Sheet, other: Sheet) -> tuple[Region, Region] | None:
    """Return the content of both pictures if both have plain borders, of different shades; else None."""
    shades = int(one.grey[0, 0]), int(other.grey[0, 0])
    if min(len(one.regions), len(other.regions)) < 2 or abs(shades[0] - shades[1]) <= _ONE_SHADE:  # noqa: PLR2004
        return None
    return one.regions[1], other.regions[1]


def _extended(
    first_region: Region, second_region: Region, motion: Motion, contents: tuple[Region, Region] | None
) -> tuple[Region, Region, Motion]:
    """Extend the regions to all that both pictures show, so that no difference is left out by a window.

    With `contents` (inside borders of different shades), they are not extended beyond the content of either. The
    rotation of the motion is kept.
    """
    frames: list[tuple[float, float, float, float]] = []
    for axis, low in ((1, 2), (0, 0)):
        (start, stop), (first, last) = first_region[low : low + 2], second_region[low : low + 2]
        middle = 0 if axis else 1
        scale = float(motion[middle, middle]) * (last - first) / (stop - start)
        shift = (first + last) / 2 + float(motion[middle, 2]) * (last - first) - scale * (start + stop) / 2
        near, far = max(0.0, -shift / scale), min(1.0, (1 - shift) / scale)
        if contents is not None:
            (low_edge, high_edge), ends = contents[0][low : low + 2], contents[1][low : low + 2]
            near = max(near, min(low_edge, (ends[0] - shift) / scale))
            far = min(far, max(high_edge, (ends[1] - shift) / scale))
        frames.append((near, far, scale * near + shift, scale * far + shift))
    columns, rows = frames
    if min(columns[1] - columns[0], rows[1] - rows[0]) < 0.05:  # noqa: PLR2004 - hardly anything
        return first_region, second_region, motion
    turn = np.array([[1, motion[0, 1], 0], [motion[1, 0], 1, 0]])
    return (*rows[:2], *columns[:2]), (*rows[2:], *columns[2:]), turn


def _side(one: Sheet, other: Sheet, first_region: Region, second_region: Region) -> int:
    """Return the side to compare at, in pixels: at most what either picture has, and at most 256 for photos."""
    most = _DRAWN_SIDE if min(one.drawn, other.drawn) > DRAWN else _PHOTO
    return max(_SMALLEST, min(most, one.longest(first_region), other.longest(second_region)))


def _starting_points(one: Sheet, other: Sheet) -> list[tuple[Region, Region]]:
    """Return pairs of windows to start from, the most similar first; whole pictures get a small bonus."""
    similarity: dict[tuple[Region, Region], float] = {}
    for k, first in enumerate(one.regions):
        for n, second in enumerate(other.regions):
            bonus = 0.02 * (1 + min(area(first), area(second)))
            similarity[first, second] = float(one.descriptors[16 * k] @ other.descriptors[16 * n]) + bonus
    for sheet, whole, swapped in ((one, other, False), (other, one, True)):
        values = sheet.descriptors @ whole.descriptors[::16].T
        for index in np.argsort(-values, axis=None)[:_STARTING_POINTS].tolist():
            k, n = divmod(index, values.shape[1])
            pair = (sheet.windows[k], whole.regions[n])
            similarity.setdefault(pair[::-1] if swapped else pair, float(values[k, n]))
    ranked = sorted(similarity, key=lambda pair: -similarity[pair])
    return [pair for pair in ranked[:_STARTING_POINTS] if similarity[pair] >= _LEAST_START]
