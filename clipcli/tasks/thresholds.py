"""Where to cut a list of scores, and how sure a share of so few images is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

RESAMPLES = 2000


Objective = Literal["f1", "decisions"]


@dataclass(frozen=True)
class Goal:
    """What a threshold is chosen for."""

    objective: Objective = "f1"
    """The best F1; or most right decisions: the right accepted, the wrong refused."""
    precision: float | None = None
    """In place of it: the lowest threshold that reaches this precision."""


@dataclass(frozen=True)
class Cut:
    """A score that is accepted."""

    threshold: float
    reached: bool = True
    """Whether the wanted precision is reached on the images it was found on."""


@dataclass(frozen=True)
class Interval:
    """A share, 0 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float


def best_cut(
    scores: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    total: int,
    below: float,
    goal: Goal = Goal(),
) -> Cut:
    """The threshold that serves a goal best.

    It stands halfway between the lowest score that is accepted and the next below it, and among equally good ones it is
    the lowest.

    Args:
        scores: (n,) of the images that would get the label.
        right: (n,) whether they should.
        total: images that should get it, in all.
        below: the best score of images that neither should get the label nor would; what to stay above where all of
            `scores` are accepted.
        goal: what for; a precision that cannot be reached gives way to the best there is.
    """
    if not right.any():
        return Cut(1.0, reached=goal.precision is None)
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(right[order])
    counts = np.arange(1, len(ranked) + 1)
    possible = np.append(ranked[1:] < ranked[:-1], True)  # equal scores cannot be told apart
    precision = hits / counts
    quality = 2.0 * hits / (counts + total) if goal.objective == "f1" else 2.0 * hits - counts
    reached = True
    if goal.precision is not None:
        good = possible & (precision >= goal.precision)
        reached = bool(good.any())
        quality = np.where(good, counts, 0.0) if reached else precision
    quality = np.where(possible, quality, -np.inf)
    if goal.objective == "decisions" and goal.precision is None and quality.max() < 0:
        return Cut((float(ranked[0]) + 1.0) / 2.0)
    last = len(quality) - 1 - int(np.argmax(quality[::-1]))
    lowest = float(ranked[last])
    following = float(ranked[last + 1]) if last + 1 < len(ranked) else min(below, lowest)
    return Cut((lowest + following) / 2.0, reached)


def proportion(hits: int, misses: int, others: int, generator: np.random.Generator) -> Interval | None:
    """`hits / (hits + misses)` among `hits + misses + others` images, with its bootstrap interval.

    Images are drawn again with replacement; of their kinds only the numbers matter, so a draw is one of a multinomial
    distribution. Where there is nothing but hits, or none, every draw is the same and Wilson's interval stands in:
    three of three right is no proof of perfection.
    """
    if hits + misses == 0:
        return None
    value = hits / (hits + misses)
    if not hits or not misses:
        return Interval(value, *_wilson(hits, hits + misses))
    total = hits + misses + others
    drawn = generator.multinomial(total, [hits / total, misses / total, others / total], RESAMPLES)
    sums = drawn[:, 0] + drawn[:, 1]
    shares = drawn[:, 0][sums > 0] / sums[sums > 0]
    low, high = np.percentile(shares, (2.5, 97.5))
    return Interval(value, float(low), float(high))


def _wilson(hits: int, count: int) -> tuple[float, float]:
    """Wilson's score interval (Wilson, 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
