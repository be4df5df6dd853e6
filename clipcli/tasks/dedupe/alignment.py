"""Two sheets → which stretch of the one shows what the other shows, and how the one must be moved to lie on the other.

Where to begin comes from windows at 16 × 16; from there the one is moved onto the other (`motion`), coarse to fine.
Many pairs are aligned together, because at the coarse sizes a call of numpy costs more than its arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from clipcli.tasks.dedupe.motion import STILL, Mask, Motion, blurred, correlation, fit, uncovered
from clipcli.tasks.dedupe.sheets import Grey, Stretch, area, span, within

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
_BEGIN: Final = 0.5
"""Correlation of windows at 16 × 16 below which two stretches do not show the same."""
_BEGINNINGS: Final = 3
_BETTER: Final = 0.01
"""By how much a later beginning must correlate better: whole pictures come first."""
_ONE_SHADE: Final = 16
"""Grey values by which the corners of one plain border may differ."""
_FITS: Final = 0.6
"""Correlation at 64 × 64 after moving, below which it is not worth a closer look."""
_TOGETHER: Final = 1 << 17
"""Pixels of each side that are held at once at the finest size."""


@dataclass(frozen=True)
class AlignedPair:
    """Two stretches at one size, the second moved onto the first."""

    first: Grey
    """(side, side), 0 to 255."""
    second: Grey
    covered: Mask
    """(side, side) where the second has anything to show."""
    frames: tuple[Stretch, Stretch]
    """What was laid on each other."""
    stretches: tuple[Stretch, Stretch]
    """The shared part of each picture."""
    motion: Motion
    correlation: float


class _Coarse(NamedTuple):
    """The best beginning of a pair so far, at 64 × 64."""

    value: float
    mine: Stretch
    its: Stretch
    motion: Motion


class _Frames(NamedTuple):
    """What of a pair is laid on each other, and at which size."""

    number: int
    """Of the pair."""
    mine: Stretch
    its: Stretch
    motion: Motion
    side: int


def align(pairs: Sequence[SheetPair]) -> list[AlignedPair | None]:
    """Return the best fit of each pair of sheets; None where none is worth a closer look."""
    found: list[AlignedPair | None] = [None] * len(pairs)
    frames = []
    for number, (pair, best) in enumerate(zip(pairs, _best_beginnings(pairs), strict=True)):
        if best is not None and best.value >= _FITS:
            mine, its, motion = _widened(best.mine, best.its, best.motion, _inside_borders(*pair))
            frames.append(_Frames(number, mine, its, motion, _side(*pair, mine, its)))
    for some in _batches(frames):
        for one, aligned in zip(some, _closely(pairs, some), strict=True):
            found[one.number] = aligned
    return found


def _best_beginnings(pairs: Sequence[SheetPair]) -> list[_Coarse | None]:
    """Return where to begin with each pair; a later beginning is tried where an earlier one can be bettered."""
    beginnings = [_beginnings(*pair) for pair in pairs]
    best: list[_Coarse | None] = [None] * len(pairs)
    cut = _cutter()
    for turn in range(_BEGINNINGS):
        due = [n for n, some in enumerate(beginnings) if turn < len(some) and (_value(best[n]) <= 1 - _BETTER)]
        if not due:
            break
        tried = [beginnings[number][turn] for number in due]
        first = np.stack([cut(pairs[n][0], mine) for n, (mine, _) in zip(due, tried, strict=True)])
        second = np.stack([cut(pairs[n][1], its) for n, (_, its) in zip(due, tried, strict=True)])
        fits = fit(blurred(first), blurred(second), np.tile(STILL, (len(due), 1, 1)), 6)
        for number, stretches, value, motion in zip(due, tried, fits.value.tolist(), fits.motion, strict=True):
            if best[number] is None or value > _value(best[number]) + _BETTER:
                best[number] = _Coarse(value, *stretches, motion)
    return best


def _value(best: _Coarse | None) -> float:
    return -1.0 if best is None else best.value


def _cutter() -> Callable[[Sheet, Stretch], Grey]:
    """Return what cuts stretches at 64 × 64, each once."""
    kept: dict[tuple[int, Stretch], Grey] = {}

    def cut(sheet: Sheet, stretch: Stretch) -> Grey:
        key = id(sheet), stretch
        if key not in kept:
            kept[key] = sheet.cut(stretch, _COARSE)
        return kept[key]

    return cut


def _batches(frames: Sequence[_Frames]) -> list[list[_Frames]]:
    """Return those of one size together, no more than are worth it."""
    batches: list[list[_Frames]] = []
    for one in sorted(frames, key=lambda frame: frame.side):
        last = batches[-1] if batches else []
        if not last or last[0].side != one.side or len(last) * one.side**2 >= _TOGETHER:
            batches.append(last := [])
        last.append(one)
    return batches


def _closely(pairs: Sequence[SheetPair], frames: Sequence[_Frames]) -> list[AlignedPair]:
    """Align pairs of frames of one size, at 128 × 128 and then at that size."""
    side = frames[0].side
    first = np.stack([pairs[one.number][0].cut(one.mine, side) for one in frames])
    second = np.stack([pairs[one.number][1].cut(one.its, side) for one in frames])
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
    shared = _shared(frames.mine, frames.its, covered, motion)
    return AlignedPair(first, moved, covered, (frames.mine, frames.its), shared, motion, value)


def _shared(mine: Stretch, its: Stretch, covered: Mask, motion: Motion) -> tuple[Stretch, Stretch]:
    """Return the two stretches without what the motion laid outside the other."""
    side = len(covered)
    rows, columns = (np.flatnonzero(covered.mean(axis=axis) > 0.5) for axis in (1, 0))  # noqa: PLR2004 - half a line
    if not len(rows) or not len(columns):
        return mine, its
    box = tuple(float(edge) / side for edge in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    top, bottom, left, right = box
    corners = np.array([[x - 0.5, y - 0.5, 1.0] for y in (top, bottom) for x in (left, right)]) @ motion.T + 0.5
    low, high = np.clip(corners.min(axis=0), 0, 1), np.clip(corners.max(axis=0), 0, 1)
    return within(mine, (top, bottom, left, right)), within(
        its, (float(low[1]), float(high[1]), float(low[0]), float(high[0]))
    )


def _inside_borders(one: Sheet, other: Sheet) -> tuple[Stretch, Stretch] | None:
    """Return what lies in the plain borders of both, where these are of two shades."""
    shades = int(one.grey[0, 0]), int(other.grey[0, 0])
    if min(len(one.stretches), len(other.stretches)) < 2 or abs(shades[0] - shades[1]) <= _ONE_SHADE:  # noqa: PLR2004
        return None
    return one.stretches[1], other.stretches[1]


def _widened(
    mine: Stretch, its: Stretch, motion: Motion, contents: tuple[Stretch, Stretch] | None
) -> tuple[Stretch, Stretch, Motion]:
    """Return the frames as large as both pictures go, so that nothing hides in what a window leaves out.

    Where borders of two shades are around `contents` they go no further than what either holds. The turn stays.
    """
    frames: list[tuple[float, float, float, float]] = []
    for axis, low in ((1, 2), (0, 0)):
        (start, stop), (first, last) = mine[low : low + 2], its[low : low + 2]
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
        return mine, its, motion
    turn = np.array([[1, motion[0, 1], 0], [motion[1, 0], 1, 0]])
    return (*rows[:2], *columns[:2]), (*rows[2:], *columns[2:]), turn


def _side(one: Sheet, other: Sheet, mine: Stretch, its: Stretch) -> int:
    """Size to compare at: no more than either picture has, and for photos no more than 256."""
    most = _DRAWN_SIDE if min(one.drawn, other.drawn) > DRAWN else _PHOTO
    return max(_SMALLEST, min(most, one.longest(mine), other.longest(its)))


def _beginnings(one: Sheet, other: Sheet) -> list[tuple[Stretch, Stretch]]:
    """Pairs of stretches that look alike, the likest first, and of equal ones the whole."""
    found: dict[tuple[Stretch, Stretch], float] = {}
    for k, mine in enumerate(one.stretches):
        for n, its in enumerate(other.stretches):
            found[mine, its] = float(one.looks[16 * k] @ other.looks[16 * n]) + 0.02 * (1 + min(area(mine), area(its)))
    for first, second, swapped in ((one, other, False), (other, one, True)):
        values = first.looks @ second.looks[::16].T
        for place in np.argsort(-values, axis=None)[:_BEGINNINGS].tolist():
            k, n = divmod(place, values.shape[1])
            pair = (first.windows[k], second.stretches[n])
            found.setdefault(pair[::-1] if swapped else pair, float(values[k, n]))
    ranked = sorted(found, key=lambda pair: -found[pair])
    return [pair for pair in ranked[:_BEGINNINGS] if found[pair] >= _BEGIN]
