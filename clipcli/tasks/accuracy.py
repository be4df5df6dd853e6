"""Compare predicted labels with expected ones: accuracy, confusions, and whether a check passes."""

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
    """The comparison of one image's labels with its expected labels."""

    expected: str
    """The right labels, joined by " or "."""
    found: str | None
    """The predicted label; None if the image could not be read, or no label reached the threshold."""
    holds: bool
    found_score: float | None = None
    expected_score: float | None = None
    """None if the expected label is not one of the labels, or in a multi-label run is below the threshold."""
    in_top: bool = False
    """True if the expected label is among the five best."""
    forbidden: bool = False
    """True if `expected` is a label that the image must not have."""
    right: tuple[str, ...] = ()
    """The right labels; empty if `forbidden`."""


def judge(right: Sequence[str], result: Prediction, *, multi_label: bool = False) -> Verdict:
    """Compare one result with the right labels, of which one suffices.

    A multi-label result is right if one of them is among its labels.
    """
    names = [entry.label for entry in result.ranked]
    rank = min((names.index(label) for label in right if label in names), default=None)
    holds = rank is not None if multi_label else result.label in right
    score = None if rank is None else result.ranked[rank].score
    in_top = rank is not None and rank < _TOP
    return Verdict(joined(right), result.label, holds, result.score, score, in_top, right=tuple(right))


def joined(right: Sequence[str]) -> str:
    """Return the right labels as rows and reports show them: `cat or kitten`."""
    return " or ".join(right)


def judge_forbidden(forbidden: Sequence[str], result: Prediction, *, multi_label: bool = False) -> Verdict:
    """Compare one result with forbidden labels: its best label, or in a multi-label run all its labels."""
    entries = [entry for entry in result.ranked if multi_label or entry.label == result.label]
    wrong = next((entry for entry in entries if entry.label in forbidden), None)
    expected = "not " + " or ".join(forbidden)
    if wrong is None:
        return Verdict(expected, result.label, holds=True, found_score=result.score, in_top=True, forbidden=True)
    return Verdict(expected, wrong.label, holds=False, found_score=wrong.score, forbidden=True)


def unreadable(right: Sequence[str]) -> Verdict:
    """Return the verdict on an image that cannot be read: it fails its check."""
    return Verdict(joined(right), None, holds=False, right=tuple(right))


@dataclass
class Tally:
    """Counts over verdicts."""

    minimum: float = 1.0
    """The least top-1 accuracy with which the check passes, 0 to 1."""
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
        """Return whether enough images got their label; False without images."""
        return self.total > 0 and self.top1 >= self.minimum

    @property
    def worst(self) -> Sequence[tuple[str, str, int]]:
        """Return the most frequent confusions: (expected, predicted, count)."""
        ordered = sorted(self.confusions.items(), key=lambda item: (-item[1], item[0]))
        return [(expected, found, count) for (expected, found), count in ordered[:_WORST]]
