"""Two sheets → which stretch of the one shows what the other shows, and how the one must be moved to lie on the other.

Where to begin comes from windows at 16 × 16; from there Gauss-Newton steps on an affine motion with gain and offset
(Lucas and Kanade, "An Iterative Image Registration Technique", 1981), with weights that let go of what differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.tasks.dedupe.sheets import Grey, Stretch, area, quantile, span, within

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
_EIGHTH: Final = np.array([1, 1, 1 / 8])
"""Scales of column, row and shift in the unknowns of a motion."""
_ROW_POWERS: Final = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]])
_COLUMN_POWERS: Final = np.array([[2, 1, 1], [1, 0, 0], [1, 0, 0]])
"""Powers of row and column in the products of (column, row, 1) with itself."""
_BELOW: Final = np.tril_indices(8, -1)
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
        if best[0] > 1 - _BETTER:
            break  # none can be better by that much
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
    rows = 2 * values
    rows[1:] += values[:-1]
    rows[0] += values[0]
    rows[:-1] += values[1:]
    rows[-1] += values[-1]
    both = 2 * rows
    both[:, 1:] += rows[:, :-1]
    both[:, 0] += rows[:, 0]
    both[:, :-1] += rows[:, 1:]
    both[:, -1] += rows[:, -1]
    both /= 16
    return both


def correlation(one: Grey, other: Grey, covered: Mask) -> float:
    """Normalised cross-correlation where `covered`, -1 to 1; 0 where one is constant or hardly anything is covered."""
    if covered.all():
        first, second = one.ravel(), other.ravel()
    else:
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
    along, half = np.arange(side) - (side - 1) / 2, (side - 1) / 2
    (a, b, c), (d, e, f) = motion.tolist()
    x = (b * along)[:, None].astype(np.float32) + (a * along + (c * side + half)).astype(np.float32)
    y = (e * along + (f * side + half))[:, None].astype(np.float32) + (d * along).astype(np.float32)
    low, high = -0.5, side - 0.5
    covered = (x >= low) & (x <= high) & (y >= low) & (y <= high)
    np.clip(x, 0, side - 1.001, out=x)
    np.clip(y, 0, side - 1.001, out=y)
    left, top = x.astype(np.int32), y.astype(np.int32)
    x -= left
    y -= top
    corner = (top * side + left).astype(np.intp)
    flat = values.ravel()
    upper = _between(flat.take(corner), flat[1:].take(corner), x)
    lower = _between(flat[side:].take(corner), flat[side + 1 :].take(corner), x)
    return _between(upper, lower, y), covered


def _between(one: Grey, other: Grey, share: Grey) -> Grey:
    """Return values a `share` of the way from one to the other; both are used up."""
    other -= one
    other *= share
    other += one
    return other


def _fit(first: Grey, second: Grey, motion: Motion, steps: int) -> tuple[float, Motion]:
    """Return a better motion and the correlation with it; the given one where no step is better."""
    moved, covered = move(second, motion)
    best = correlation(first, moved, covered), motion
    lit: tuple[float, float] | None = None
    for _ in range(steps):
        if best[0] > 1 - _WORTH:
            break  # nothing can be that much better
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
    weights = covered.astype(np.float32)
    if lit is not None:
        rest = np.abs(first - np.float32(lit[0]) * moved - np.float32(lit[1]))
        rest *= 1 / (4 + 3 * quantile(rest.ravel()[:: max(1, side // 64)]))
        weights /= rest * rest + 1
    matrix, wanted = _normal_equations(first, moved, weights)
    matrix.flat[::9] += 1e-5 * np.trace(matrix) / 8 + 1e-6
    solved = np.linalg.solve(matrix, wanted)
    gain = max(0.2, float(solved[6]) / 64)
    scale = np.array([1, 1, 1 / 8, 1, 1, 1 / 8]) / (gain * side)
    delta = np.clip(solved[:6] * scale, -0.05, 0.05).reshape(2, 3)
    changed = motion[:, :2] @ (np.eye(2, 3) + delta)
    changed[:, 2] += motion[:, 2]
    return changed, (gain, float(solved[7])), float(np.abs(delta).max())


def _normal_equations(first: Grey, moved: Grey, weights: Grey) -> tuple[Motion, Motion]:
    """Return the (8, 8) matrix and the (8,) right side of weighted least squares for one step.

    The unknowns are six of the motion, the gain and the offset. The slope of each of the six is a gradient times a
    column, a row or 1/8; so sums over products of slopes are moments of products of gradients, which take a third of
    the time of eight whole planes of slopes.
    """
    down, across = _gradients(moved)
    planes = np.empty((9, *first.shape), np.float32)
    x, y = np.multiply(weights, across, out=planes[0]), np.multiply(weights, down, out=planes[1])
    products = ((x, across), (x, down), (y, down), (x, moved), (y, moved), (x, first), (y, first))
    for plane, (one, other) in zip(planes[2:], products, strict=True):
        np.multiply(one, other, out=plane)
    moments = _moments(planes)
    linear = moments[:, (0, 1, 0), (1, 0, 0)] * _EIGHTH
    along, mixed, down = moments[2:5, _ROW_POWERS, _COLUMN_POWERS] * np.outer(_EIGHTH, _EIGHTH)
    lit = weights * moved
    matrix = np.empty((8, 8))
    matrix[:3, :3], matrix[:3, 3:6], matrix[3:6, 3:6] = along, mixed, down
    matrix[:6, 6], matrix[:6, 7] = linear[5:7].ravel() / 64, linear[:2].ravel()
    matrix[6, 6:], matrix[7, 7] = (np.vdot(lit, moved) / 4096, lit.sum() / 64), weights.sum()
    matrix[_BELOW] = matrix.T[_BELOW]
    wanted = np.concatenate([linear[7:].ravel(), [np.vdot(lit, first) / 64, np.vdot(weights, first)]])
    return matrix, wanted


def _moments(planes: Grey) -> Motion:
    """Return the sums of (n, side, side) planes times powers of row and column, (n, 3, 3), powers 0 to 2."""
    side = planes.shape[1]
    powers = _powers(side)
    return np.asarray(powers.T @ (planes.reshape(-1, side) @ powers).reshape(-1, side, 3), np.float64)


@cache
def _powers(side: int) -> Grey:
    """(side, 3): 1, the place and its square, from the middle in shares of the side."""
    along = (np.arange(side) - (side - 1) / 2) / side
    return np.stack([np.ones(side), along, along**2], axis=1).astype(np.float32)


def _gradients(values: Grey) -> tuple[Grey, Grey]:
    """Return half the differences of the neighbours below and above, and right and left; at the rim of one side."""
    down, across = np.empty_like(values), np.empty_like(values)
    inner, middle = np.s_[1:-1], np.s_[:, 1:-1]
    np.multiply(np.subtract(values[2:], values[:-2], out=down[inner]), 0.5, out=down[inner])
    np.multiply(np.subtract(values[:, 2:], values[:, :-2], out=across[middle]), 0.5, out=across[middle])
    down[0], down[-1] = values[1] - values[0], values[-1] - values[-2]
    across[:, 0], across[:, -1] = values[:, 1] - values[:, 0], values[:, -1] - values[:, -2]
    return down, across
