"""Join sketches into candidate pairs: pictures worth a full comparison. No model takes part.

1. The description of each window of each picture is multiplied with that of every other whole picture
   (`sketches.describe`). Products of at least `CANDIDATE` are candidates; each picture keeps its best 16.
2. Candidates are aligned at 16 × 16 and at 32 × 32, and their fine structure is correlated. Photos that do not
   correlate are dropped. Pages and screens have too little structure at that size: they stay if the first score was
   high enough.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from clipcli.core.devices import single_threaded_blas, usable_cores
from clipcli.tasks.dedupe.alignment import DRAWN
from clipcli.tasks.dedupe.likeness import TURNS, turn
from clipcli.tasks.dedupe.motion import gradients
from clipcli.tasks.dedupe.pairs import Pairs, ranks_of
from clipcli.tasks.dedupe.sheets import span
from clipcli.tasks.dedupe.sketches import DIM, SIDE, WINDOWS, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.core.vectors import Vectors
    from clipcli.tasks.dedupe.pairs import Indices, RowSource
    from clipcli.tasks.dedupe.sheets import Grey

Greys: TypeAlias = npt.NDArray[np.uint8]
Join: TypeAlias = "Callable[[RowSource, RowSource, float, int], Pairs]"
"""Join two sources: pairs of rows with at least a cosine, and at most a number of them per row of the first."""
CANDIDATE: Final = 0.7
"""Smallest dot product of candidates' descriptions; 999 of 1,000 edits of photos reach 0.85."""
_MATCHES_PER_WINDOW: Final = 32
_SCREENS: Final = ((16, 3, 0.75), (32, 3, 0.7))
"""Side, Gauss-Newton steps and smallest correlation of each screen; 1,000 edits of photos have at least 0.82."""
_SURE_SCORE: Final = 0.85
"""Dot product from which pages and screens stay, whatever their correlation."""
_EQUAL_SCORE: Final = 0.995
"""Dot product from which any picture stays, also a flat one."""
_BATCH_VALUES: Final = 1 << 15
"""Values of sketches that are aligned together: what a step needs stays in the cache of a core."""
_DESCRIBE_BATCH: Final = 4096
_CLEAR_CORRELATION: Final = 0.95
"""Correlation at the first screen from which the second one is skipped."""
_TIE_DECIMALS: Final = 5
"""Decimals to which scores are rounded before matches of one pair are compared."""
_MAX_SCREENED: Final = 16
"""A pair is screened if it is among this many best candidates of either picture."""


@dataclass(frozen=True)
class WindowRows:
    """Windows of sketches as the rows of a join; each block is described when it is read."""

    grey: Greys
    """(regions, 32, 32)."""
    windows: Sequence[tuple[float, float, float, float]] = WINDOWS
    _described: Grey | None = field(init=False, default=None)
    """The descriptions, kept if they are read repeatedly."""

    @classmethod
    def of_wholes(cls, grey: Greys) -> WindowRows:
        """Return the rows of whole pictures only, described once."""
        rows = cls(grey, WINDOWS[:1])
        parts = [rows.block(start, start + _DESCRIBE_BATCH) for start in range(0, len(grey), _DESCRIBE_BATCH)]
        object.__setattr__(rows, "_described", np.concatenate([np.zeros((0, DIM), np.float32), *parts]))
        return rows

    @property
    def dim(self) -> int:
        """Return the length of a description."""
        return DIM

    def __len__(self) -> int:
        return len(self.grey) * len(self.windows)

    def block(self, start: int, stop: int) -> Vectors:
        """Return the descriptions of rows, (n, dim) float32; see `RowSource`."""
        if self._described is not None:
            return self._described[start:stop]
        per_sketch = len(self.windows)
        low = start // per_sketch
        described = describe(self.grey[low : (stop + per_sketch - 1) // per_sketch], self.windows).reshape(-1, DIM)
        return described[start - low * per_sketch : stop - low * per_sketch]

    def take(self, rows: Indices) -> Vectors:
        """Return the descriptions of rows, (n, dim) float32; see `RowSource`."""
        if self._described is not None:
            return self._described[rows]
        regions, windows = np.divmod(rows, len(self.windows))
        distinct, index = np.unique(regions, return_inverse=True)
        return describe(self.grey[distinct], self.windows)[index, windows]


@dataclass(frozen=True)
class SketchSet:
    """Sketches of n pictures."""

    grey: Greys
    """(regions, 32, 32) of all pictures."""
    owner: Indices
    """(regions,) the number of the picture of each, ascending."""
    drawn: npt.NDArray[np.float32]
    """(n,) the flat share of each picture, 0 to 1."""

    @classmethod
    def of(cls, sketches: Sequence[Greys], drawn: Sequence[float]) -> SketchSet:
        """Build the set from the (regions, 32, 32) sketch of each picture; unreadable ones have 0 regions."""
        owner = np.repeat(np.arange(len(sketches)), [len(sketch) for sketch in sketches])
        grey = np.concatenate([np.zeros((0, SIDE, SIDE), np.uint8), *sketches])
        return cls(grey, owner.astype(np.int64), np.asarray(drawn, np.float32))

    def only(self, pictures: npt.NDArray[np.bool_]) -> SketchSet:
        """Return the set with some pictures only; numbers stay the same."""
        chosen = pictures[self.owner]
        return SketchSet(self.grey[chosen], self.owner[chosen], self.drawn)

    def turned(self, turns: int) -> SketchSet:
        """Return the set with each picture in the first `turns` of the eight orientations."""
        if turns == 1:
            return self
        ways = [np.stack([turn(sketch, number) for number in range(turns)]) for sketch in self.grey]
        grey = np.concatenate([np.zeros((0, SIDE, SIDE), np.uint8), *ways])
        return SketchSet(grey, np.repeat(self.owner, turns), self.drawn)


@dataclass(frozen=True)
class _Matches:
    """Matches of a window of one picture with another whole picture."""

    first: Indices
    second: Indices
    score: npt.NDArray[np.float32]
    window_sketch: Indices
    """(m,) the region whose window matched."""
    window_index: Indices
    """(m,) the index of that window in `WINDOWS`."""
    whole_sketch: Indices
    """(m,) the turned region that matched as a whole."""


def candidate_pairs(first: SketchSet, second: SketchSet, join: Join, *, turns: bool) -> Pairs:
    """Return candidate pairs of pictures of two sets, scored 0 to 1; copies score nearly 1.

    Args:
        first: the sketches of one set.
        second: the sketches of the other set, with the same numbering; the same object for a self-join.
        join: the join of two row sources.
        turns: also find turned and mirrored pictures.

    Returns:
        The pairs, each once; `first < second` in a self-join.
    """
    is_self_join = first is second
    turn_count = TURNS if turns else 1
    sets = [(first, second.turned(turn_count))]
    if not is_self_join:
        sets.append((second, first.turned(turn_count)))
    matches = [_join_windows(windows, wholes, join) for windows, wholes in sets]
    if not is_self_join:
        reverse = matches[1]
        matches[1] = _Matches(
            reverse.second, reverse.first, reverse.score, reverse.window_sketch + len(first.grey),
            reverse.window_index, reverse.whole_sketch + len(sets[0][1].grey),
        )  # fmt: skip
    best = _best_per_pair(_concatenated(matches), is_self_join=is_self_join)
    sketches = _Sketches([windows.grey for windows, _ in sets], [wholes.grey for _, wholes in sets])
    score = _screen(best, sketches, np.minimum(first.drawn[best.first], first.drawn[best.second]) > DRAWN)
    keep = score > 0
    return Pairs(best.first[keep], best.second[keep], score[keep], np.zeros(len(first.drawn), bool))


@dataclass(frozen=True)
class _Sketches:
    """The sketches that matches refer to: one set, or two sets whose numbers follow each other."""

    windows: Sequence[Greys]
    wholes: Sequence[Greys]


def _take(parts: Sequence[Greys], numbers: Indices) -> Greys:
    """Return the regions of some numbers, (n, 32, 32)."""
    if len(parts) == 1 or not len(numbers):
        return parts[0][numbers]
    in_first = numbers < len(parts[0])
    sketches = np.empty((len(numbers), SIDE, SIDE), np.uint8)
    sketches[in_first], sketches[~in_first] = parts[0][numbers[in_first]], parts[1][numbers[~in_first] - len(parts[0])]
    return sketches


def _join_windows(sketches: SketchSet, wholes: SketchSet, join: Join) -> _Matches:
    pairs = join(WindowRows(sketches.grey), WindowRows.of_wholes(wholes.grey), CANDIDATE, _MATCHES_PER_WINDOW)
    window_sketch, window_index = np.divmod(pairs.first, len(WINDOWS))
    first, second = sketches.owner[window_sketch], wholes.owner[pairs.second]
    is_pair = first != second
    return _Matches(first[is_pair], second[is_pair], pairs.cosine[is_pair], window_sketch[is_pair],
                    window_index[is_pair], pairs.second[is_pair])  # fmt: skip


def _concatenated(matches: list[_Matches]) -> _Matches:
    if len(matches) == 1:
        return matches[0]
    first, second = matches
    return _Matches(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in
                      ("first", "second", "score", "window_sketch", "window_index", "whole_sketch")))  # fmt: skip


def _best_per_pair(matches: _Matches, *, is_self_join: bool) -> _Matches:
    """Return the best match of each pair of pictures."""
    low, high = matches.first, matches.second
    if is_self_join:
        low, high = np.minimum(low, high), np.maximum(low, high)
    score = np.round(matches.score, _TIE_DECIMALS)  # so that the rounding of a product does not choose among equals
    order = np.lexsort((matches.first, matches.window_index, -score, high, low))
    low, high = low[order], high[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    low, high, chosen = low[is_first], high[is_first], order[is_first]
    is_best = _among_best(low, high, matches.score[chosen])
    low, high, chosen = low[is_best], high[is_best], chosen[is_best]
    return _Matches(low, high, matches.score[chosen], matches.window_sketch[chosen], matches.window_index[chosen],
                    matches.whole_sketch[chosen])  # fmt: skip


def _among_best(first: Indices, second: Indices, score: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return (m,) whether a pair is among the best of either of its pictures."""
    ranks = ranks_of(np.concatenate([first, second]), np.concatenate([second, first]), np.tile(score, 2))
    return np.asarray(np.minimum(ranks[: len(first)], ranks[len(first) :]) < _MAX_SCREENED, bool)


def _screen(matches: _Matches, sketches: _Sketches, is_drawn: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return (m,) the score of each pair; 0 for those that are dropped."""
    is_sure = (matches.score >= _EQUAL_SCORE) | (is_drawn & (matches.score >= _SURE_SCORE))
    score = np.where(is_sure, matches.score, 1).astype(np.float32)
    open_pairs = np.flatnonzero(~is_sure)
    with single_threaded_blas(), ThreadPoolExecutor(usable_cores()) as pool:
        for side, steps, threshold in _SCREENS:
            size = _BATCH_VALUES // side**2
            parts = [open_pairs[start : start + size] for start in range(0, len(open_pairs), size)]
            values = list(pool.map(lambda batch: _correlate(matches, sketches, batch, side, steps), parts))  # noqa: B023 - used at once
            correlations = np.concatenate([np.zeros(0, np.float32), *values])
            score[open_pairs] = np.where(correlations >= threshold, np.minimum(correlations, 1), 0)
            open_pairs = open_pairs[(correlations >= threshold) & (correlations < _CLEAR_CORRELATION)]
    return score


def _correlate(
    matches: _Matches, sketches: _Sketches, pairs: Indices, side: int, steps: int
) -> npt.NDArray[np.float32]:
    first = np.empty((len(pairs), side, side), np.float32)
    for window_index in np.unique(matches.window_index[pairs]).tolist():
        has_window = matches.window_index[pairs] == window_index
        first[has_window] = _cut(_take(sketches.windows, matches.window_sketch[pairs[has_window]]), window_index, side)
    return aligned_correlations(first, _cut(_take(sketches.wholes, matches.whole_sketch[pairs]), 0, side), steps)


def _cut(grey: Greys, window: int, side: int) -> Grey:
    top, bottom, left, right = WINDOWS[window]
    rows, columns = span(top, bottom, SIDE, side), span(left, right, SIDE, side)
    return np.asarray(rows @ grey.astype(np.float32) @ columns.T, np.float32)


_PARAMETERS: Final = 8
_ONE: Final = np.float32(1)
_EIGHTH: Final = np.float32(1 / 8)
_MAX_STEP: Final = 0.08
"""The largest step as a share of the side."""


def aligned_correlations(first: Grey, second: Grey, steps: int) -> npt.NDArray[np.float32]:
    """Return the correlation of each pair after aligning the second with the first (affine, gain and offset).

    Args:
        first: (n, side, side) grey values.
        second: the same shape.
        steps: number of Gauss-Newton steps.

    Returns:
        (n,) the correlation of the high-pass filtered pictures, the best of all steps, -1 to 1.
    """
    count = len(first)
    motion = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    moved, covered = second, np.ones(first.shape, np.float32)
    first_detail = _high_pass(first)
    best = _correlations(first_detail, _high_pass(moved), covered)
    for _ in range(steps):
        motion = _gauss_newton_step(first, moved, covered, motion)
        moved, covered = _warp(second, motion)
        best = np.maximum(best, _correlations(first_detail, _high_pass(moved), covered))
    return best


def _correlations(first: Grey, second: Grey, covered: Grey) -> npt.NDArray[np.float32]:
    first, second = first * covered, second * covered
    dot = np.einsum("nij,nij->n", first, second)
    scale = np.einsum("nij,nij->n", first, first) * np.einsum("nij,nij->n", second, second)
    return np.asarray(dot / np.sqrt(np.maximum(scale, 1e-3)), np.float32)


def _high_pass(values: Grey) -> Grey:
    """Return the values minus the mean of their 5 × 5 neighbourhood, by sums along both axes."""
    padded = np.pad(values, ((0, 0), (2, 2), (2, 2)), mode="edge")
    side = values.shape[1]
    rows = padded[:, :side] + padded[:, 1 : side + 1] + padded[:, 2 : side + 2]
    rows = rows + padded[:, 3 : side + 3] + padded[:, 4 : side + 4]
    sums = rows[:, :, :side] + rows[:, :, 1 : side + 1] + rows[:, :, 2 : side + 2]
    sums = sums + rows[:, :, 3 : side + 3] + rows[:, :, 4 : side + 4]
    return np.asarray(values - sums / 25, np.float32)


def _gauss_newton_step(first: Grey, moved: Grey, covered: Grey, motion: Grey) -> Grey:
    count, side = len(first), first.shape[1]
    along = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    down, across = (values * covered for values in gradients(moved))
    columns, rows = along[None, None, :], along[None, :, None]
    planes = np.empty((count, _PARAMETERS, side, side), np.float32)
    factors = ((across, columns), (across, rows), (across, _EIGHTH), (down, columns), (down, rows), (down, _EIGHTH),
               (moved, covered), (covered, _ONE))  # fmt: skip
    for i, (one, other) in enumerate(factors):
        np.multiply(one, other, out=planes[:, i])
    planes[:, 6] /= 64
    slopes = planes.reshape(count, _PARAMETERS, -1)
    matrix = slopes @ slopes.transpose(0, 2, 1)
    diagonal = np.arange(_PARAMETERS)
    matrix[:, diagonal, diagonal] += 1e-4 * np.trace(matrix, axis1=1, axis2=2)[:, None] / _PARAMETERS + 1e-3
    right_side = slopes @ (first * covered).reshape(count, -1, 1)
    solved = np.linalg.solve(matrix, right_side)[..., 0]
    gain = np.maximum(0.2, solved[:, 6:7] / 64)
    scale = np.array([1, 1, 1 / 8, 1, 1, 1 / 8], np.float32) / (gain * side)
    delta = np.clip(solved[:, :6] * scale, -_MAX_STEP, _MAX_STEP).reshape(count, 2, 3)
    turn = motion[:, :, :2] @ (np.eye(2, dtype=np.float32) + delta[:, :, :2])
    shift = motion[:, :, :2] @ delta[:, :, 2:] + motion[:, :, 2:]
    return np.concatenate([turn, shift], axis=2).astype(np.float32)


def _warp(values: Grey, motion: Grey) -> tuple[Grey, Grey]:
    """Warp each picture by its motion, bilinearly; also return 1 where the source has pixels, else 0."""
    count, side = len(values), values.shape[1]
    along = np.arange(side, dtype=np.float32) - (side - 1) / 2
    coordinates = []
    for row in range(2):
        a, b, c = (motion[:, row, column, None, None] for column in range(3))
        coordinates.append(a * along[None, None, :] + b * along[None, :, None] + c * side + (side - 1) / 2)
    x, y = coordinates
    covered = (np.abs(x - (side - 1) / 2) <= side / 2) & (np.abs(y - (side - 1) / 2) <= side / 2)
    x, y = np.clip(x, 0, side - 1.001), np.clip(y, 0, side - 1.001)
    left, top = np.floor(x), np.floor(y)
    x, y = x - left, y - top
    pixel = (top * side + left).astype(np.intp)
    pixel += (np.arange(count) * (side * side))[:, None, None]
    flat = values.reshape(-1)
    upper = flat.take(pixel) * (1 - x) + flat[1:].take(pixel) * x
    lower = flat[side:].take(pixel) * (1 - x) + flat[side + 1 :].take(pixel) * x
    return np.asarray(upper * (1 - y) + lower * y, np.float32), covered.astype(np.float32)
