"""Four levels, and the thresholds that part them. Each number was measured; docs/dedupe.md says on what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["exact", "near", "edited", "similar"]
LEVELS: Final[tuple[Level, ...]] = ("exact", "near", "edited", "similar")
"""From the surest to the loosest; each takes in the ones before it."""


@dataclass(frozen=True)
class LevelThresholds:
    """Cosines of one model. They do not carry over to another: the same two photos are 0.6 here and 0.9 there."""

    candidate: float
    """From here on a row of `--against VECTORS` is looked at. A cropped copy must reach it, most strangers must not."""
    similar: float
    """From here on two pictures are called alike, whatever their pixels say."""


UNKNOWN_MODEL: Final = LevelThresholds(candidate=0.85, similar=0.95)
"""For contrastive image towers in general: their cosines crowd between 0.5 and 1."""
_BY_MODEL: Final[tuple[tuple[str, LevelThresholds], ...]] = (
    (r"(^|[/:\\])surrogate$", LevelThresholds(candidate=0.75, similar=0.85)),
    (r"^tiny$", LevelThresholds(candidate=0.6, similar=0.9)),
)
"""Patterns of model names, first match counts."""


def thresholds_of(model: str) -> LevelThresholds:
    """Return the thresholds that belong to a model, by its name."""
    return next((found for pattern, found in _BY_MODEL if re.search(pattern, model)), UNKNOWN_MODEL)


def includes(asked: Level, level: Level) -> bool:
    """Return whether a run at level `asked` reports matches of `level`."""
    return LEVELS.index(level) <= LEVELS.index(asked)
