"""The rows of `score`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIGITS: Final = 4
_JSON_DIGITS: Final = 6
OWN_COLUMNS: Final = ("image", "text", "score", "scores", "ok", "error")
"""Names that a column of a table cannot have in the output."""


@dataclass(frozen=True)
class ScoredRow:
    """An image, its text, and their similarity."""

    image: str
    text: str
    scores: Mapping[str, float]
    """Cosine similarity by model, the first model's first."""
    holds: bool | None = None
    """True if it reaches the score that a check requires; None without a check."""

    @property
    def score(self) -> float:
        """Return the score of the first model, a cosine from -1 to 1."""
        return next(iter(self.scores.values()))

    @property
    def columns(self) -> tuple[str, ...]:
        """Return one column per model; that of the first is `score`."""
        check = () if self.holds is None else ("ok",)
        return ("image", "text", "score", *list(self.scores)[1:], *check)

    @property
    def path(self) -> str | None:
        """Return the image for a list of bare paths; in a check, only if it fails."""
        return None if self.holds else self.image

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        row: dict[str, object] = {"image": self.image, "text": self.text, "score": round(self.score, _JSON_DIGITS)}
        if len(self.scores) > 1:
            row["scores"] = {model: round(score, _JSON_DIGITS) for model, score in self.scores.items()}
        if self.holds is not None:
            row["ok"] = self.holds
        return row

    def cells(self) -> list[tuple[str, ...]]:
        """Return one line."""
        check = () if self.holds is None else ("yes" if self.holds else "no",)
        return [(self.image, self.text, *(f"{score:.{_DIGITS}f}" for score in self.scores.values()), *check)]
