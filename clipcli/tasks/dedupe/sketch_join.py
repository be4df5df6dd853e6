"""Sketches → pairs of pictures worth a whole comparison, the most alike first. No model has a say.

1. Each window of each picture is multiplied with the whole of every other (`sketches.describe`); what reaches
   `CANDIDATE` is a candidate, and of each picture the best 16 go on.
2. Candidates are moved onto each other at 16 × 16 and at 32 × 32 and correlated in their fine structure.
   Photos that do not fit are let go of. Pages and screens have too little structure at that size: they stay if the
   first step was sure.
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
"""Multiplies two sources: pairs of rows from a threshold on, the best so many of each row of the first."""
CANDIDATE: Final = 0.7
"""Dot product of two descriptions from which pictures are candidates: 999 of 1,000 edits of photos have 0.85."""
_PER_WINDOW: Final = 32
_SCREENS: Final = ((16, 3, 0.75), (32, 3, 0.7))
"""Sides, steps, and the correlation of fine structure that a copy has: at least 0.82 in 1,000 edits of photos."""
_SURE: Final = 0.85
"""Dot product from which pages stay whatever their fine structure is."""
_SAME: Final = 0.995
"""Dot product from which pictures stay, flat ones too."""
_AT_ONCE: Final = 256
_KEPT_AT_ONCE: Final = 4096
_CLEAR: Final = 0.95
"""Correlation at the first screen from which the next one has nothing to say."""
_TIES: Final = 5
"""Decimals in which matches of two pictures are held against each other."""
_SCREENED: Final = 16
"""Candidates of a picture that are screened, and any that is among these of either side."""


@dataclass(frozen=True)
class WindowRows:
    """Windows of sketches as rows to be joined; described when their block is due."""

    grey: Greys
    """(stretches, 32, 32)."""
    windows: Sequence[tuple[float, float, float, float]] = WINDOWS
    _kept: Grey | None = field(init=False, default=None)
    """What is described, where it is asked for again and again."""

    @classmethod
    def of_wholes(cls, grey: Greys) -> WindowRows:
        """Return the wholes alone, described once."""
        rows = cls(grey, WINDOWS[:1])
        parts = [rows.block(start, start + _KEPT_AT_ONCE) for start in range(0, len(grey), _KEPT_AT_ONCE)]
        object.__setattr__(rows, "_kept", np.concatenate([np.zeros((0, DIM), np.float32), *parts]))
        return rows

    @property
    def dim(self) -> int:
        """Numbers of a description."""
        return DIM

    def __len__(self) -> int:
        return len(self.grey) * len(self.windows)

    def block(self, start: int, stop: int) -> Vectors:
        """Described anew where they were not kept."""
        if self._kept is not None:
            return self._kept[start:stop]
        each = len(self.windows)
        low = start // each
        found = describe(self.grey[low : (stop + each - 1) // each], self.windows).reshape(-1, DIM)
        return found[start - low * each : stop - low * each]

    def take(self, rows: Indices) -> Vectors:
        """Described anew where they were not kept."""
        if self._kept is not None:
            return self._kept[rows]
        stretches, windows = np.divmod(rows, len(self.windows))
        every, back = np.unique(stretches, return_inverse=True)
        return describe(self.grey[every], self.windows)[back, windows]


@dataclass(frozen=True)
class SketchSet:
    """Sketches of n pictures."""

    grey: Greys
    """(stretches, 32, 32) of all pictures."""
    owner: Indices
    """(stretches,) the picture of each, ascending."""
    drawn: npt.NDArray[np.float32]
    """(n,) how much of each is flat."""

    @classmethod
    def of(cls, sketches: Sequence[Greys], drawn: Sequence[float]) -> SketchSet:
        """From (stretches, 32, 32) for each picture; a picture without a sketch has none."""
        owner = np.repeat(np.arange(len(sketches)), [len(one) for one in sketches])
        grey = np.concatenate([np.zeros((0, SIDE, SIDE), np.uint8), *sketches])
        return cls(grey, owner.astype(np.int64), np.asarray(drawn, np.float32))

    def only(self, pictures: npt.NDArray[np.bool_]) -> SketchSet:
        """Some of the pictures, with the numbers they have."""
        some = pictures[self.owner]
        return SketchSet(self.grey[some], self.owner[some], self.drawn)

    def turned(self, turns: int) -> SketchSet:
        """Return the pictures in so many of the eight ways to lay them down."""
        if turns == 1:
            return self
        ways = [np.stack([turn(one, number) for number in range(turns)]) for one in self.grey]
        grey = np.concatenate([np.zeros((0, SIDE, SIDE), np.uint8), *ways])
        return SketchSet(grey, np.repeat(self.owner, turns), self.drawn)


@dataclass(frozen=True)
class _Matches:
    """Rows of windows and wholes that were multiplied, one best for each pair of pictures."""

    first: Indices
    second: Indices
    score: npt.NDArray[np.float32]
    window: Indices
    """(m,) the number of the sketch whose window matched."""
    which: Indices
    """(m,) which window of it."""
    whole: Indices
    """(m,) the number of the sketch, turned, that matched as a whole."""


def candidate_pairs(one: SketchSet, other: SketchSet, join: Join, *, turns: bool) -> Pairs:
    """Pairs of pictures of two sets (or of one, given twice), scored 0 to 1: what is a copy scores nearly 1.

    Args:
        one: Sketches.
        other: Sketches of the same numbering.
        join: Multiplies two sources.
        turns: Whether pictures may be turned or mirrored.

    Returns:
        Pairs of pictures, each once: `first < second` in a join of a set with itself.
    """
    itself = one is other
    ways = TURNS if turns else 1
    sets = [(one, other.turned(ways))] if itself else [(one, other.turned(ways)), (other, one.turned(ways))]
    matches = [_matches(windows, wholes, join) for windows, wholes in sets]
    if not itself:
        back = matches[1]
        window, whole = back.window + len(one.grey), back.whole + len(sets[0][1].grey)
        matches[1] = _Matches(back.second, back.first, back.score, window, back.which, whole)
    every = _once(_joined(matches), itself=itself)
    sketches = _Sketches([windows.grey for windows, _ in sets], [wholes.grey for _, wholes in sets])
    score = _screened(every, sketches, np.minimum(one.drawn[every.first], one.drawn[every.second]) > DRAWN)
    keep = score > 0
    return Pairs(every.first[keep], every.second[keep], score[keep], np.zeros(len(one.drawn), bool))


@dataclass(frozen=True)
class _Sketches:
    """What matches are numbers of: a set, or two sets one behind the other."""

    windows: Sequence[Greys]
    wholes: Sequence[Greys]


def _take(parts: Sequence[Greys], numbers: Indices) -> Greys:
    """Return the sketches of some numbers, (n, 32, 32)."""
    if len(parts) == 1 or not len(numbers):
        return parts[0][numbers]
    first = numbers < len(parts[0])
    taken = np.empty((len(numbers), SIDE, SIDE), np.uint8)
    taken[first], taken[~first] = parts[0][numbers[first]], parts[1][numbers[~first] - len(parts[0])]
    return taken


def _matches(one: SketchSet, wholes: SketchSet, join: Join) -> _Matches:
    pairs = join(WindowRows(one.grey), WindowRows.of_wholes(wholes.grey), CANDIDATE, _PER_WINDOW)
    window, which = np.divmod(pairs.first, len(WINDOWS))
    first, second = one.owner[window], wholes.owner[pairs.second]
    differ = first != second
    return _Matches(first[differ], second[differ], pairs.cosine[differ], window[differ], which[differ],
                    pairs.second[differ])  # fmt: skip


def _joined(matches: list[_Matches]) -> _Matches:
    if len(matches) == 1:
        return matches[0]
    one, two = matches
    return _Matches(*(np.concatenate([getattr(one, name), getattr(two, name)]) for name in
                      ("first", "second", "score", "window", "which", "whole")))  # fmt: skip


def _once(found: _Matches, *, itself: bool) -> _Matches:
    """Return the best match of each pair of pictures."""
    low, high = found.first, found.second
    if itself:
        low, high = np.minimum(low, high), np.maximum(low, high)
    score = np.round(found.score, _TIES)  # so that the rounding of a product does not choose among equals
    order = np.lexsort((found.first, found.which, -score, high, low))
    low, high = low[order], high[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    low, high, some = low[fresh], high[fresh], order[fresh]
    best = _among_best(low, high, found.score[some])
    low, high, some = low[best], high[best], some[best]
    return _Matches(low, high, found.score[some], found.window[some], found.which[some],
                    found.whole[some])  # fmt: skip


def _among_best(first: Indices, second: Indices, score: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """(m,) whether a pair is among the best of either of its pictures."""
    ranks = ranks_of(np.concatenate([first, second]), np.concatenate([second, first]), np.tile(score, 2))
    return np.asarray(np.minimum(ranks[: len(first)], ranks[len(first) :]) < _SCREENED, bool)


def _screened(found: _Matches, sketches: _Sketches, drawn: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """(m,) the score of each pair; 0 for what is let go of."""
    stays = (found.score >= _SAME) | (drawn & (found.score >= _SURE))
    score = np.where(stays, found.score, 1).astype(np.float32)
    alive = np.flatnonzero(~stays)
    with single_threaded_blas(), ThreadPoolExecutor(usable_cores()) as pool:
        for side, steps, least in _SCREENS:
            parts = [alive[start : start + _AT_ONCE] for start in range(0, len(alive), _AT_ONCE)]
            values = list(pool.map(lambda part: _fits(found, sketches, part, side, steps), parts))  # noqa: B023 - used at once
            fits = np.concatenate([np.zeros(0, np.float32), *values])
            score[alive] = np.where(fits >= least, np.minimum(fits, 1), 0)
            alive = alive[(fits >= least) & (fits < _CLEAR)]
    return score


def _fits(found: _Matches, sketches: _Sketches, some: Indices, side: int, steps: int) -> npt.NDArray[np.float32]:
    first = np.empty((len(some), side, side), np.float32)
    for which in np.unique(found.which[some]).tolist():
        here = found.which[some] == which
        first[here] = _cut(_take(sketches.windows, found.window[some[here]]), which, side)
    return aligned_correlations(first, _cut(_take(sketches.wholes, found.whole[some]), 0, side), steps)


def _cut(grey: Greys, window: int, side: int) -> Grey:
    top, bottom, left, right = WINDOWS[window]
    rows, columns = span(top, bottom, SIDE, side), span(left, right, SIDE, side)
    return np.asarray(rows @ grey.astype(np.float32) @ columns.T, np.float32)


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
