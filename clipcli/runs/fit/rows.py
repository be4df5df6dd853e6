"""The rows of `fit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from clipcli.tasks.calibrate import Interval

_JSON_DIGITS = 6
ALL = "all labels"
"""The name of the row for all labels in a table."""


@dataclass(frozen=True)
class FitRow:
    """One label, or all labels: the accuracy of the head and of the texts alone on held-out pictures."""

    label: str | None
    """None for all labels together."""
    images: int
    """Number of training pictures."""
    held_out: Interval | None
    """Accuracy of the head; None if no picture could be held out."""
    zero_shot: Interval | None
    gain: Interval | None = None
    """For all labels: the head's accuracy minus that of the texts, on the same pictures."""
    columns: ClassVar[tuple[str, ...]] = ("label", "images", "held_out", "zero_shot")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "label": self.label,
            "images": self.images,
            "held_out": _interval(self.held_out),
            "zero_shot": _interval(self.zero_shot),
            "gain": _interval(self.gain),
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line, with intervals in brackets."""
        return [(self.label or ALL, str(self.images), _text(self.held_out), _text(self.zero_shot))]


def _interval(share: Interval | None) -> dict[str, float] | None:
    if share is None:
        return None
    return {name: round(getattr(share, name), _JSON_DIGITS) for name in ("value", "low", "high")}


def _text(share: Interval | None) -> str:
    return "" if share is None else f"{share.value:.2f} ({share.low:.2f}–{share.high:.2f})"
