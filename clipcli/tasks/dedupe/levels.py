"""Four levels, and the thresholds that part them. Each number was measured; docs/dedupe.md says on what."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from clipcli.core.vectors import Vectors

Level = Literal["exact", "near", "edited", "similar"]
LEVELS: Final[tuple[Level, ...]] = ("exact", "near", "edited", "similar")
"""From the surest to the loosest; each takes in the ones before it."""


@dataclass(frozen=True)
class LevelThresholds:
    """Cosines of one model. They do not carry over to another: the same two photos are 0.6 here and 0.9 there."""

    candidate: float
    """From here on two pictures are compared on their pixels. A cropped copy must reach it, most strangers must not."""
    similar: float
    """From here on two pictures are called alike, whatever their pixels say."""


UNKNOWN_MODEL: Final = LevelThresholds(candidate=0.85, similar=0.95)
"""For contrastive image towers in general: their cosines crowd between 0.5 and 1."""
_STRANGERS: Final = 16
"""Strangers that a picture is compared with on average: pixels decide, so that a few too many cost only time."""
_RANDOM_ROWS: Final = 2048
"""Two million pairs: enough to see one in a hundred thousand."""
_ROWS_AT_LEAST: Final = 100
_LOWEST: Final = 0.5

_BY_MODEL: Final[tuple[tuple[str, LevelThresholds], ...]] = (
    (r"(^|[/:\\])surrogate$", LevelThresholds(candidate=0.75, similar=0.85)),
    (r"^tiny$", LevelThresholds(candidate=0.6, similar=0.9)),
)
"""Patterns of model names, first match counts."""


def thresholds_of(model: str) -> LevelThresholds:
    """The thresholds that belong to a model, by its name."""
    return next((found for pattern, found in _BY_MODEL if re.search(pattern, model)), UNKNOWN_MODEL)


def measured(thresholds: LevelThresholds, vectors: Vectors) -> LevelThresholds | None:
    """Candidates as a set's own pairs suggest, for a model that nobody measured: a few strangers a picture.

    Two pictures taken at random are strangers, as good as always; the cosine that all but `16 / n` of such pairs stay
    below leaves each picture 16 of them. It is never above the fixed value, so that no copy is lost to a guess, and
    `similar` stays what it is, so that a pair's level does not depend on what else is in the set.

    Args:
        thresholds: What holds without a measurement.
        vectors: (n, dim) of unit length.

    Returns:
        None for fewer than 100 vectors, which say too little.
    """
    total = len(vectors)
    if total < _ROWS_AT_LEAST:
        return None
    some = vectors[np.linspace(0, total - 1, min(total, _RANDOM_ROWS)).astype(np.int64)]
    cosines = (some @ some.T)[np.triu_indices(len(some), 1)]
    place = min(len(cosines) - 1, int(len(cosines) * (1 - min(0.5, _STRANGERS / total))))
    found = float(np.partition(cosines, place)[place])
    return replace(thresholds, candidate=min(thresholds.candidate, max(_LOWEST, found)))


def is_known(model: str) -> bool:
    """Whether a model's thresholds were measured."""
    return any(re.search(pattern, model) for pattern, _ in _BY_MODEL)


def includes(asked: Level, level: Level) -> bool:
    """Whether a run at level `asked` reports matches of `level`."""
    return LEVELS.index(level) <= LEVELS.index(asked)
