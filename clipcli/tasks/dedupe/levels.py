"""The four levels of duplicates and their cosine thresholds per model; docs/dedupe.md says how they were measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["exact", "near", "edited", "similar"]
LEVELS: Final[tuple[Level, ...]] = ("exact", "near", "edited", "similar")
"""From the closest to the loosest; a run at one level also reports the levels before it."""


@dataclass(frozen=True)
class LevelThresholds:
    """Cosine thresholds of one model. Those of another differ: the same two photos may have 0.6 there and 0.9 here."""

    candidate: float
    """Least cosine for a row of `--against VECTORS` to be compared. Cropped copies reach it, most others do not."""
    similar: float
    """Least cosine of two pictures that are *similar*, whatever their pixels."""


UNKNOWN_MODEL: Final = LevelThresholds(candidate=0.85, similar=0.95)
"""For contrastive image towers in general: most of their cosines lie between 0.5 and 1."""
_BY_MODEL: Final[tuple[tuple[str, LevelThresholds], ...]] = (
    (r"(^|[/:\\])surrogate$", LevelThresholds(candidate=0.75, similar=0.85)),
    (r"^tiny$", LevelThresholds(candidate=0.6, similar=0.9)),
)
"""Patterns of model names; the first match counts."""


def thresholds_of(model: str) -> LevelThresholds:
    """Return the thresholds that belong to a model, by its name."""
    return next((thresholds for pattern, thresholds in _BY_MODEL if re.search(pattern, model)), UNKNOWN_MODEL)


def includes(asked: Level, level: Level) -> bool:
    """Return whether a run at level `asked` reports matches of `level`."""
    return LEVELS.index(level) <= LEVELS.index(asked)
