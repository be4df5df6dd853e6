"""Two sheets → which stretch of the one shows what the other shows, and how the one must be moved to lie on the other.

Where to begin comes from windows at 16 × 16; from there Gauss-Newton steps on an affine motion with gain and offset
(Lucas and Kanade, "An Iterative Image Registration Technique", 1981), with weights that let go of what differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.tasks.dedupe.sheets import Grey, Stretch, area, span, within

if TYPE_CHECKING:
    from clipcli.tasks.dedupe.sheets import Sheet

Motion = npt.NDArray[np.float64]
"""(2, 3) affine, in shares of the side from the middle: x' = m[0] · (x, y, 1)."""
Mask = npt.NDArray[np.bool_]
STILL: Final = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_COARSE: Final = 64
_MIDDLE: Final = 128
_PHOTO: Final = 256
DRAWN: Final = 0.3
_DRAWN_SIDE: Final = 640
_SMALLEST: Final = 32
_BEGIN: Final = 0.5
"""Correlation of windows at 16 × 16 below which two stretches do not show the same."""
_BEGINNINGS: Final = 3
_WORTH: Final = 0.001
"""By how much a step must correlate better to be taken."""
_BETTER: Final = 0.01
"""By how much a later beginning must correlate better: whole pictures come first."""
_FITS: Final = 0.6
"""Correlation at 64 × 64 after moving, below which it is not worth a closer look."""


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


def align(one: Sheet, other: Sheet) -> AlignedPair | None:
    """Return the best fit of two sheets; None where none is worth a closer look."""
    best: tuple[float, Stretch, Stretch, Motion] | None = None
    for mine, its in _beginnings(one, other):
        first, second = one.cut(mine, _COARSE), other.cut(its, _COARSE)
        found = _fit(blurred(first), blurred(second), STILL, 6)
        if best is None or found[0] > best[0] + _BETTER:
            best = (found[0], mine, its, found[1])
    if best is None or best[0] < _FITS:
        return None
    mine, its, motion = _widened(*best[1:])
    side = _side(one, other, mine, its)
    first, second = one.cut(mine, side), other.cut(its, side)
    if side > _MIDDLE:
        smaller = span(0.0, 1.0, side, _MIDDLE)
        _, motion = _fit(smaller @ first @ smaller.T, smaller @ second @ smaller.T, motion, 4)
    correlation, motion = _fit(first, second, motion, 2)
    moved, covered = move(second, motion)
    return AlignedPair(first, moved, covered, (mine, its), _shared(mine, its, covered, motion), motion, correlation)


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


def _widened(mine: Stretch, its: Stretch, motion: Motion) -> tuple[Stretch, Stretch, Motion]:
    """Return the frames as large as both pictures go, so that nothing hides in what a window leaves out.

    The turn stays.
    """
    frames: list[tuple[float, float, float, float]] = []
    for axis, low in ((1, 2), (0, 0)):
        (start, stop), (first, last) = mine[low : low + 2], its[low : low + 2]
        middle = 0 if axis else 1
        scale = float(motion[middle, middle]) * (last - first) / (stop - start)
        shift = (first + last) / 2 + float(motion[middle, 2]) * (last - first) - scale * (start + stop) / 2
        near, far = max(0.0, -shift / scale), min(1.0, (1 - shift) / scale)
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


def blurred(values: Grey) -> Grey:
    """Return the mean of 3 × 3 neighbours, weighted 1 2 1."""
    padded = np.pad(values, 1, mode="edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return np.asarray((rows[:-2] + 2 * rows[1:-1] + rows[2:]) / 16, np.float32)


def correlation(one: Grey, other: Grey, covered: Mask) -> float:
    """Normalised cross-correlation where `covered`, -1 to 1; 0 where one is constant or hardly anything is covered."""
    first, second = one[covered], other[covered]
    if first.size < covered.size // 4:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale > 1e-3 else 0.0  # noqa: PLR2004 - constant


def move(values: Grey, motion: Motion) -> tuple[Grey, Mask]:
    """Values moved by a motion, between neighbours, and where there are any."""
    side = len(values)
    if np.array_equal(motion, STILL):
        return values, np.ones(values.shape, bool)
    along = np.arange(side, dtype=np.float32) - (side - 1) / 2
    rows, columns = along[:, None], along[None, :]
    (a, b, c), (d, e, f) = motion
    x = (a * columns + b * rows + c * side + (side - 1) / 2).astype(np.float32)
    y = (d * columns + e * rows + f * side + (side - 1) / 2).astype(np.float32)
    covered = (np.abs(x - (side - 1) / 2) <= side / 2) & (np.abs(y - (side - 1) / 2) <= side / 2)
    np.clip(x, 0, side - 1.001, out=x)
    np.clip(y, 0, side - 1.001, out=y)
    left, top = x.astype(np.int32), y.astype(np.int32)
    x -= left
    y -= top
    place = top * side + left
    flat = values.ravel()
    upper = flat[place] * (1 - x) + flat[place + 1] * x
    lower = flat[place + side] * (1 - x) + flat[place + side + 1] * x
    return np.asarray(upper * (1 - y) + lower * y, np.float32), covered


def _fit(first: Grey, second: Grey, motion: Motion, steps: int) -> tuple[float, Motion]:
    """Return a better motion and the correlation with it; the given one where no step is better."""
    moved, covered = move(second, motion)
    best = correlation(first, moved, covered), motion
    lit: tuple[float, float] | None = None
    for _ in range(steps):
        motion, lit, size = _step(first, moved, covered, motion, lit)
        moved, covered = move(second, motion)
        value = correlation(first, moved, covered) - max(0.0, 0.9 - float(covered.mean()))
        if value > best[0] + _WORTH:
            best = value, motion
        if size < 0.02 / len(first):
            break
    return best


def _step(
    first: Grey, moved: Grey, covered: Mask, motion: Motion, lit: tuple[float, float] | None
) -> tuple[Motion, tuple[float, float], float]:
    """One step of Gauss-Newton: the motion, gain and offset, and how far it went."""
    side = len(first)
    along = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    down, across = np.gradient(moved)
    shown = covered.astype(np.float32)
    across, down = across * shown, down * shown
    columns, rows = along[None, :], along[:, None]
    stack = (
        across * columns,
        across * rows,
        across / 8,
        down * columns,
        down * rows,
        down / 8,
        moved * shown / 64,
        shown,
    )
    slopes = np.stack([part.ravel() for part in stack])
    wanted = first.ravel() * shown.ravel()
    weighted = slopes
    if lit is not None:
        rest = np.abs(first - lit[0] * moved - lit[1]).ravel()
        weighted = slopes / (1 + (rest / (4 + 3 * float(np.median(rest[:: max(1, side // 64)])))) ** 2)
    matrix = weighted @ slopes.T
    matrix[np.arange(8), np.arange(8)] += 1e-5 * np.trace(matrix) / 8 + 1e-6
    found = np.linalg.solve(matrix, weighted @ wanted)
    gain = max(0.2, float(found[6]) / 64)
    scale = np.array([1, 1, 1 / 8, 1, 1, 1 / 8]) / (gain * side)
    delta = np.clip(found[:6] * scale, -0.05, 0.05).reshape(2, 3)
    step = np.vstack([np.eye(2, 3) + delta, [0, 0, 1]])
    changed = (np.vstack([motion, [0, 0, 1]]) @ step)[:2]
    return changed, (gain, float(found[7])), float(np.abs(delta).max())
