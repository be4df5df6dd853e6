"""Expected labels held against found ones: accuracy, confusions, and whether a check holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.tasks.classify import Prediction

_TOP = 5
_WORST = 5


@dataclass(frozen=True)
class Verdict:
    """One image held against what was expected of it."""

    expected: str
    """The right labels, joined by " or "."""
    found: str | None
    """None when the image could not be read, or when nothing reached the threshold."""
    holds: bool
    found_score: float | None = None
    expected_score: float | None = None
    """None when the expected label is none of the labels, or in a multi-label run below the threshold."""
    in_top: bool = False
    """True if the expected label is among the five best."""
    forbidden: bool = False
    """True if `expected` is a label that the image must not have."""
    right: tuple[str, ...] = ()
    """The right labels one by one; empty for what is forbidden."""


def judge(right: Sequence[str], result: Prediction, *, multi_label: bool = False) -> Verdict:
    """Hold one result against the right labels, of which one suffices.

    A multi-label result holds when one of them is among the labels found.
    """
    names = [entry.label for entry in result.ranked]
    place = min((names.index(label) for label in right if label in names), default=None)
    holds = place is not None if multi_label else result.label in right
    score = None if place is None else result.ranked[place].score
    in_top = place is not None and place < _TOP
    return Verdict(joined(right), result.label, holds, result.score, score, in_top, right=tuple(right))


def joined(right: Sequence[str]) -> str:
    """Return the right labels as rows and reports show them: `cat or kitten`."""
    return " or ".join(right)


def judge_forbidden(forbidden: Sequence[str], result: Prediction, *, multi_label: bool = False) -> Verdict:
    """Hold one result against labels no image may get: its answer, or in a multi-label run all that were found."""
    given = [entry for entry in result.ranked if multi_label or entry.label == result.label]
    wrong = next((entry for entry in given if entry.label in forbidden), None)
    expected = "not " + " or ".join(forbidden)
    if wrong is None:
        return Verdict(expected, result.label, holds=True, found_score=result.score, in_top=True, forbidden=True)
    return Verdict(expected, wrong.label, holds=False, found_score=wrong.score, forbidden=True)


def unreadable(right: Sequence[str]) -> Verdict:
    """Return the verdict on an image that cannot be read: it fails its check."""
    return Verdict(joined(right), None, holds=False, right=tuple(right))


@dataclass
class Tally:
    """Verdicts added up."""

    minimum: float = 1.0
    """The smallest top-1 accuracy with which the check holds, 0 to 1."""
    total: int = 0
    right: int = 0
    in_top: int = 0
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one image."""
        self.total += 1
        self.right += verdict.holds
        self.in_top += verdict.in_top
        if not verdict.holds and verdict.found is not None:
            self.confusions[verdict.expected, verdict.found] += 1

    @property
    def top1(self) -> float:
        """Share of images that got their label, 0 to 1."""
        return self.right / self.total if self.total else 0.0

    @property
    def top5(self) -> float:
        """Share of images whose label was among the five best, 0 to 1."""
        return self.in_top / self.total if self.total else 0.0

    @property
    def holds(self) -> bool:
        """Return whether enough images got their label; a check of nothing holds nothing."""
        return self.total > 0 and self.top1 >= self.minimum

    @property
    def worst(self) -> Sequence[tuple[str, str, int]]:
        """Return the most frequent confusions: expected, found, how often."""
        ordered = sorted(self.confusions.items(), key=lambda item: (-item[1], item[0]))
        return [(expected, found, count) for (expected, found), count in ordered[:_WORST]]
