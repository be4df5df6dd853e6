"""Fit affine motions that move each second picture of a stack onto its first.

Gauss-Newton steps on an affine motion with gain and offset (Lucas and Kanade, "An Iterative Image Registration
Technique", 1981), with robust weights that ignore what differs. All pairs of a stack take each step together: at
64 × 64 pixels, the overhead of a numpy call is larger than its arithmetic.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from clipcli.tasks.dedupe.sheets import Grey, quantile

Motion = npt.NDArray[np.float64]
"""(2, 3) or (n, 2, 3): affine, x' = m[0] · (x, y, 1), with the origin in the middle and the side as unit."""
Mask = npt.NDArray[np.bool_]
STILL: Final = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
WORTH: Final = 0.001
"""Least gain in correlation for a step to be taken."""
_AT_ONCE: Final = 1 << 15
"""Pixels of a stack that are computed together, so that the arrays of a step stay in the cache of a core."""
_COVERED: Final = 0.9
"""Share of covered pixels below which a motion is penalised."""
_CONSTANT: Final = 1e-3
"""Largest norm of a picture of one shade, after its mean is subtracted."""
_EIGHTH: Final = np.array([1, 1, 1 / 8])
"""Scales of column, row and shift in the unknowns of a motion."""
_SCALES: Final = np.outer(_EIGHTH, _EIGHTH)
_ROW_POWERS: Final = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]])
_COLUMN_POWERS: Final = np.array([[2, 1, 1], [1, 0, 0], [1, 0, 0]])
"""Powers of row and column in the products of (column, row, 1) with itself."""
_BELOW: Final = np.tril_indices(8, -1)


class Fits(NamedTuple):
    """The best motions of a stack, and the pictures that they moved."""

    value: npt.NDArray[np.float64]
    """(n,) correlation after the motion, less a penalty for pixels that it leaves uncovered."""
    motion: Motion
    moved: Grey
    """(n, side, side) the second pictures, moved."""
    covered: Mask
    """(n, side, side) True for pixels that lie inside the moved picture."""


class _Brightness(NamedTuple):
    """The gains and offsets, (n,) each, that fit the moved pictures to the first."""

    gain: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]


def fit(first: Grey, second: Grey, motion: Motion, steps: int) -> Fits:
    """Improve motions by Gauss-Newton steps; a motion that no step improves is returned as it is.

    Args:
        first: (n, side, side) grey values.
        second: The same shape.
        motion: (n, 2, 3) the motions to start from.
        steps: Largest number of steps.
    """
    count = max(1, _AT_ONCE // first[0].size)
    parts = [
        _fit(first[start : start + count], second[start : start + count], motion[start : start + count], steps)
        for start in range(0, len(first), count)
    ]
    return parts[0] if len(parts) == 1 else Fits(*map(np.concatenate, zip(*parts, strict=True)))


def _fit(first: Grey, second: Grey, motion: Motion, steps: int) -> Fits:
    moved, covered = move_all(second, motion)
    shown = _shown(covered)
    best = Fits(correlations(first, moved, covered, shown), motion.copy(), moved.copy(), covered.copy())
    brightness: _Brightness | None = None
    alive = np.arange(len(first))
    going = best.value <= 1 - WORTH  # nothing can be that much better
    for _ in range(steps):
        if not going.all():
            alive, motion, covered = alive[going], motion[going], covered[going]
            first, second, moved = (values[going] for values in (first, second, moved))
            brightness = _Brightness(*(values[going] for values in brightness)) if brightness is not None else None
        if not len(alive):
            break
        motion, brightness, size = _step(first, moved, covered, motion, brightness)
        moved, covered = move_all(second, motion)
        shown = _shown(covered)
        value = correlations(first, moved, covered, shown) - np.maximum(0.0, _COVERED - shown / covered[0].size)
        better = value > best.value[alive] + WORTH
        improved = alive[better]
        best.value[improved], best.motion[improved] = value[better], motion[better]
        best.moved[improved], best.covered[improved] = moved[better], covered[better]
        going = (size >= 0.02 / first.shape[1]) & (best.value[alive] <= 1 - WORTH)
    return best


def uncovered(covered: Mask) -> float:
    """Return the penalty, in correlation, of a motion that leaves more than a tenth uncovered."""
    return max(0.0, _COVERED - float(covered.mean()))


def _shown(covered: Mask) -> npt.NDArray[np.int64]:
    """Return (n,) the number of covered pixels of each mask of (n, side, side)."""
    return np.array([np.count_nonzero(one) for one in covered])  # five times as fast as along axes


def blurred(values: Grey) -> Grey:
    """Return the mean of 3 × 3 neighbours, weighted 1 2 1, in the last two axes."""
    rows = 2 * values
    rows[..., 1:, :] += values[..., :-1, :]
    rows[..., 0, :] += values[..., 0, :]
    rows[..., :-1, :] += values[..., 1:, :]
    rows[..., -1, :] += values[..., -1, :]
    both = 2 * rows
    both[..., 1:] += rows[..., :-1]
    both[..., 0] += rows[..., 0]
    both[..., :-1] += rows[..., 1:]
    both[..., -1] += rows[..., -1]
    both /= 16
    return both


def correlation(one: Grey, other: Grey, covered: Mask) -> float:
    """Return the normalised cross-correlation where `covered`, -1 to 1; 0 where one is constant."""
    if covered.all():
        first, second = one.ravel(), other.ravel()
    else:
        first, second = one[covered], other[covered]
    if first.size < covered.size // 4:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale > _CONSTANT else 0.0


def correlations(one: Grey, other: Grey, covered: Mask, size: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return (n,) the `correlation` of each pair, up to rounding.

    Args:
        one: (n, side, side) grey values.
        other: The same shape.
        covered: The same shape.
        size: (n,) the number of covered pixels of each pair.
    """
    count = len(one)
    weights, many = covered.reshape(count, -1).astype(np.float32), np.maximum(size, 1).astype(np.float32)
    flat = (values.reshape(count, -1) for values in (one, other))
    first, second = (values - (_dot(values, weights) / many)[:, None] for values in flat)
    first *= weights
    second *= weights
    scale = np.sqrt(_dot(first, first) * _dot(second, second)).astype(np.float64)
    varied = (scale > _CONSTANT) & (size >= weights.shape[1] // 4)
    return np.where(varied, _dot(first, second) / np.where(varied, scale, 1.0), 0.0)


def move(values: Grey, motion: Motion) -> tuple[Grey, Mask]:
    """Return (side, side) values moved by a motion, interpolated linearly, and the mask of covered pixels."""
    moved, covered = move_all(values[None], motion[None])
    return moved[0], covered[0]


def move_all(values: Grey, motion: Motion) -> tuple[Grey, Mask]:
    """Return (n, side, side) values moved by one motion each, interpolated linearly, and masks of covered pixels."""
    still = (motion == STILL).all(axis=(1, 2))
    if still.all():
        return values, np.ones(values.shape, bool)
    count, side, _ = values.shape
    along, half = np.arange(side) - (side - 1) / 2, (side - 1) / 2
    (a, b, c), (d, e, f) = motion.transpose(1, 2, 0)[..., None]
    x = (b * along).astype(np.float32)[:, :, None] + (a * along + (c * side + half)).astype(np.float32)[:, None]
    y = (e * along + (f * side + half)).astype(np.float32)[:, :, None] + (d * along).astype(np.float32)[:, None]
    low, high = -0.5, side - 0.5
    covered = x >= low
    for bounded in (x <= high, y >= low, y <= high):
        covered &= bounded
    np.clip(x, 0, side - 1.001, out=x)
    np.clip(y, 0, side - 1.001, out=y)
    left, top = np.floor(x), np.floor(y)
    x -= left
    y -= top
    top *= side
    top += left
    corner, flat = top.astype(np.intp), values.ravel()
    corner += (np.arange(count) * (side * side))[:, None, None]
    upper = _between(flat.take(corner), flat[1:].take(corner), x)
    lower = _between(flat[side:].take(corner), flat[side + 1 :].take(corner), x)
    moved = _between(upper, lower, y)
    if still.any():
        moved[still], covered[still] = values[still], True
    return moved, covered


def _between(one: Grey, other: Grey, share: Grey) -> Grey:
    """Interpolate from `one` (share 0) to `other` (share 1); `other` is overwritten."""
    other -= one
    other *= share
    other += one
    return other


def _step(
    first: Grey, moved: Grey, covered: Mask, motion: Motion, brightness: _Brightness | None
) -> tuple[Motion, _Brightness, npt.NDArray[np.float64]]:
    """Take one Gauss-Newton step; return the motions, their brightness, and (n,) the largest change of each."""
    count, side, _ = first.shape
    weights = covered.astype(np.float32)
    if brightness is not None:
        gain, offset = (values.astype(np.float32)[:, None, None] for values in brightness)
        rest = gain * moved
        np.subtract(first, rest, out=rest)
        rest -= offset
        np.abs(rest, out=rest)
        every = max(1, side // 64)
        spread = np.array([quantile(one.ravel()[::every]) for one in rest])
        rest *= (1 / (4 + 3 * spread)).astype(np.float32)[:, None, None]
        rest *= rest
        rest += 1
        weights /= rest
    matrix, right = _normal_equations(first, moved, weights)
    trace = np.trace(matrix, axis1=1, axis2=2)
    matrix.reshape(count, 64)[:, ::9] += (1e-5 * trace / 8 + 1e-6)[:, None]
    solved = np.linalg.solve(matrix, right[..., None])[..., 0]
    gains: Motion = np.maximum(0.2, solved[:, 6] / 64)
    scale = np.array([1, 1, 1 / 8, 1, 1, 1 / 8]) / (gains * side)[:, None]
    delta = np.clip(solved[:, :6] * scale, -0.05, 0.05).reshape(count, 2, 3)
    changed = motion[:, :, :2] @ (np.eye(2, 3) + delta)
    changed[:, :, 2] += motion[:, :, 2]
    return changed, _Brightness(gains, np.asarray(solved[:, 7], np.float64)), np.abs(delta).max(axis=(1, 2))


def _normal_equations(first: Grey, moved: Grey, weights: Grey) -> tuple[Motion, Motion]:
    """Return the (n, 8, 8) matrices and the (n, 8) right sides of weighted least squares for one step.

    The unknowns are the six of the motion, the gain and the offset. The derivative by each of the six is a gradient
    times the column, the row or 1/8. So sums of products of derivatives are moments of products of gradients, which
    take a third of the time of eight planes of derivatives.
    """
    count, side, _ = first.shape
    down, across = gradients(moved)
    planes = np.empty((count, 9, side, side), np.float32)
    x, y = np.multiply(weights, across, out=planes[:, 0]), np.multiply(weights, down, out=planes[:, 1])
    products = ((x, across), (x, down), (y, down), (x, moved), (y, moved), (x, first), (y, first))
    for place, (one, other) in enumerate(products, 2):
        np.multiply(one, other, out=planes[:, place])
    moments = _moments(planes)
    linear = moments[:, :, (0, 1, 0), (1, 0, 0)] * _EIGHTH
    squares = moments[:, 2:5, _ROW_POWERS, _COLUMN_POWERS] * _SCALES
    flat, weighted, target, seen = (values.reshape(count, -1) for values in (weights, weights * moved, first, moved))
    matrix = np.empty((count, 8, 8))
    matrix[:, :3, :3], matrix[:, :3, 3:6], matrix[:, 3:6, 3:6] = squares.transpose(1, 0, 2, 3)
    matrix[:, :6, 6], matrix[:, :6, 7] = linear[:, 5:7].reshape(count, 6) / 64, linear[:, :2].reshape(count, 6)
    matrix[:, 6, 6], matrix[:, 6, 7], matrix[:, 7, 7] = _dot(weighted, seen) / 4096, weighted.sum(1) / 64, flat.sum(1)
    matrix[:, _BELOW[0], _BELOW[1]] = matrix[:, _BELOW[1], _BELOW[0]]
    right = np.empty((count, 8))
    right[:, :6], right[:, 6], right[:, 7] = (
        linear[:, 7:].reshape(count, 6),
        _dot(weighted, target) / 64,
        _dot(flat, target),
    )
    return matrix, right


def _dot(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(np.vecdot(one, other), np.float32)


def _moments(planes: Grey) -> Motion:
    """Return (n, 9, 3, 3): sums of (n, 9, side, side) planes times powers 0 to 2 of the row and of the column."""
    count, _, side, _ = planes.shape
    powers = _powers(side)
    along = (planes.reshape(count, -1, side) @ powers).reshape(count, 9, side, 3)
    return np.asarray(powers.T @ along, np.float64)


@cache
def _powers(side: int) -> Grey:
    """Return (side, 3): powers 0 to 2 of the coordinate, with the origin in the middle and the side as unit."""
    along = (np.arange(side) - (side - 1) / 2) / side
    return np.stack([np.ones(side), along, along**2], axis=1).astype(np.float32)


def gradients(values: Grey) -> tuple[Grey, Grey]:
    """Return central differences down and across, and one-sided differences at the edges."""
    down, across = np.empty_like(values), np.empty_like(values)
    inner, middle = down[:, 1:-1], across[:, :, 1:-1]
    np.multiply(np.subtract(values[:, 2:], values[:, :-2], out=inner), 0.5, out=inner)
    np.multiply(np.subtract(values[:, :, 2:], values[:, :, :-2], out=middle), 0.5, out=middle)
    down[:, 0], down[:, -1] = values[:, 1] - values[:, 0], values[:, -1] - values[:, -2]
    across[:, :, 0], across[:, :, -1] = values[:, :, 1] - values[:, :, 0], values[:, :, -1] - values[:, :, -2]
    return down, across
