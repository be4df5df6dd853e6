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
    """An image, its text, and how like they are."""

    image: str
    text: str
    scores: Mapping[str, float]
    """Cosine similarity by model, the first model's first."""
    holds: bool | None = None
    """True if it reaches the score that a check requires; None without a check."""

    @property
    def score(self) -> float:
        """That of the first model."""
        return next(iter(self.scores.values()))

    @property
    def columns(self) -> tuple[str, ...]:
        """Return a column a model; the first one's is `score`."""
        check = () if self.holds is None else ("ok",)
        return ("image", "text", "score", *list(self.scores)[1:], *check)

    @property
    def path(self) -> str | None:
        """In a list of bare paths: the image; in a check, those that fail it."""
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
        """One line."""
        check = () if self.holds is None else ("yes" if self.holds else "no",)
        return [(self.image, self.text, *(f"{score:.{_DIGITS}f}" for score in self.scores.values()), *check)]
