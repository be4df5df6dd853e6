"""Expected labels held against found ones: accuracy, confusions, and whether a check holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.tasks.classify import Classification

_TOP = 5
_WORST = 5


@dataclass(frozen=True)
class Verdict:
    """One image held against what was expected of it."""

    expected: str
    found: str | None
    """None when the image could not be read, or when nothing reached the threshold."""
    holds: bool
    found_score: float | None = None
    expected_score: float | None = None
    """None when the expected label is none of the labels, or in a multi-label run below the threshold."""
    in_top: bool = False
    """Whether the expected label is among the five best."""
    forbidden: bool = False
    """Whether `expected` says what the image must not be."""


def judge(expected: str, result: Classification, *, multi_label: bool = False) -> Verdict:
    """Hold one result against one label; a multi-label result holds when the label is among those found."""
    names = [entry.label for entry in result.ranked]
    place = names.index(expected) if expected in names else None
    holds = place is not None if multi_label else result.label == expected
    expected_score = None if place is None else result.ranked[place].score
    return Verdict(expected, result.label, holds, result.score, expected_score, place is not None and place < _TOP)


def judge_forbidden(forbidden: Sequence[str], result: Classification, *, multi_label: bool = False) -> Verdict:
    """Hold one result against labels no image may get: its answer, or in a multi-label run all that were found."""
    given = [entry for entry in result.ranked if multi_label or entry.label == result.label]
    wrong = next((entry for entry in given if entry.label in forbidden), None)
    expected = "not " + " or ".join(forbidden)
    if wrong is None:
        return Verdict(expected, result.label, holds=True, found_score=result.score, in_top=True, forbidden=True)
    return Verdict(expected, wrong.label, holds=False, found_score=wrong.score, forbidden=True)


def unreadable(expected: str) -> Verdict:
    """An image that cannot be read fails its check."""
    return Verdict(expected, None, holds=False)


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
        """Whether enough images got their label; a check of nothing holds nothing."""
        return self.total > 0 and self.top1 >= self.minimum

    @property
    def worst(self) -> Sequence[tuple[str, str, int]]:
        """The most frequent confusions: expected, found, how often."""
        ordered = sorted(self.confusions.items(), key=lambda item: (-item[1], item[0]))
        return [(expected, found, count) for (expected, found), count in ordered[:_WORST]]
