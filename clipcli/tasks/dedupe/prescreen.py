"""Many pairs of sketches at once → how well the one explains the other after a small motion: which are worth more.

The same Gauss-Newton steps as in `alignment`, at 16 × 16 for thousands of pairs together. A whole comparison costs a
hundred times as much, and nearly all candidates are strangers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.tasks.dedupe.sheets import Grey

_PARAMETERS: Final = 8
_FURTHEST: Final = 0.08
"""The largest step, as a share of the side."""


def aligned_correlations(first: Grey, second: Grey, steps: int) -> npt.NDArray[np.float32]:
    """Correlation of each pair after the second was moved onto the first (affine, gain and offset).

    Args:
        first: (n, side, side) grey values.
        second: The same shape.
        steps: Gauss-Newton steps.

    Returns:
        (n,) of fine structure (each value less the mean around it), the best of all steps, -1 to 1.
    """
    count = len(first)
    motion = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    moved, covered = second, np.ones(first.shape, np.float32)
    best = _fine_correlation(first, moved, covered)
    for _ in range(steps):
        motion = _stepped(first, moved, covered, motion)
        moved, covered = _moved(second, motion)
        best = np.maximum(best, _fine_correlation(first, moved, covered))
    return best


def _fine_correlation(first: Grey, second: Grey, covered: Grey) -> npt.NDArray[np.float32]:
    one, two = _without_around(first) * covered, _without_around(second) * covered
    dot = np.einsum("nij,nij->n", one, two)
    scale = np.einsum("nij,nij->n", one, one) * np.einsum("nij,nij->n", two, two)
    return np.asarray(dot / np.sqrt(np.maximum(scale, 1e-3)), np.float32)


def _without_around(values: Grey) -> Grey:
    """Values less the mean of a 5 × 5 neighbourhood, by sums along both axes."""
    padded = np.pad(values, ((0, 0), (2, 2), (2, 2)), mode="edge")
    side = values.shape[1]
    rows = padded[:, :side] + padded[:, 1 : side + 1] + padded[:, 2 : side + 2]
    rows = rows + padded[:, 3 : side + 3] + padded[:, 4 : side + 4]
    both = rows[:, :, :side] + rows[:, :, 1 : side + 1] + rows[:, :, 2 : side + 2]
    both = both + rows[:, :, 3 : side + 3] + rows[:, :, 4 : side + 4]
    return np.asarray(values - both / 25, np.float32)


def _stepped(first: Grey, moved: Grey, covered: Grey, motion: Grey) -> Grey:
    count, side = len(first), first.shape[1]
    along = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    down, across = np.gradient(moved, axis=(1, 2))
    across, down = across * covered, down * covered
    columns, rows = along[None, None, :], along[None, :, None]
    parts = (across * columns, across * rows, across / 8, down * columns, down * rows, down / 8,
             moved * covered / 64, covered)  # fmt: skip
    slopes = np.stack([part.reshape(count, -1) for part in parts], axis=1)
    matrix = slopes @ slopes.transpose(0, 2, 1)
    diagonal = np.arange(_PARAMETERS)
    matrix[:, diagonal, diagonal] += 1e-4 * np.trace(matrix, axis1=1, axis2=2)[:, None] / _PARAMETERS + 1e-3
    wanted = slopes @ (first * covered).reshape(count, -1, 1)
    solved = np.linalg.solve(matrix, wanted)[..., 0]
    gain = np.maximum(0.2, solved[:, 6:7] / 64)
    scale = np.array([1, 1, 1 / 8, 1, 1, 1 / 8], np.float32) / (gain * side)
    delta = np.clip(solved[:, :6] * scale, -_FURTHEST, _FURTHEST).reshape(count, 2, 3)
    turn = motion[:, :, :2] @ (np.eye(2, dtype=np.float32) + delta[:, :, :2])
    shift = motion[:, :, :2] @ delta[:, :, 2:] + motion[:, :, 2:]
    return np.concatenate([turn, shift], axis=2).astype(np.float32)


def _moved(values: Grey, motion: Grey) -> tuple[Grey, Grey]:
    """Values moved by a motion each, between neighbours, and 1 where there are any, else 0."""
    count, side = len(values), values.shape[1]
    along = np.arange(side, dtype=np.float32) - (side - 1) / 2
    places = []
    for row in range(2):
        a, b, c = (motion[:, row, column, None, None] for column in range(3))
        places.append(a * along[None, None, :] + b * along[None, :, None] + c * side + (side - 1) / 2)
    x, y = places
    covered = (np.abs(x - (side - 1) / 2) <= side / 2) & (np.abs(y - (side - 1) / 2) <= side / 2)
    x, y = np.clip(x, 0, side - 1.001), np.clip(y, 0, side - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = x - left, y - top
    place = top * side + left + (np.arange(count, dtype=np.int32) * side * side)[:, None, None]
    flat = values.reshape(-1)
    upper = flat[place] * (1 - x) + flat[place + 1] * x
    lower = flat[place + side] * (1 - x) + flat[place + side + 1] * x
    return np.asarray(upper * (1 - y) + lower * y, np.float32), covered.astype(np.float32)
