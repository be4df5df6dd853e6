"""The rows of `fit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from clipcli.tasks.calibrate import Interval

_JSON_DIGITS = 6
ALL = "all labels"
"""What a table calls the row of them all."""


@dataclass(frozen=True)
class FitRow:
    """One label, or all of them: accuracy on pictures that were held out, of the head and of the texts alone."""

    label: str | None
    """None for all labels together."""
    images: int
    """Pictures that were learnt from."""
    held_out: Interval | None
    """None where no picture could be held out."""
    zero_shot: Interval | None
    gain: Interval | None = None
    """All labels together: the head's accuracy less that of the texts, over the same pictures."""
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
        """One line; intervals in brackets."""
        return [(self.label or ALL, str(self.images), _shown(self.held_out), _shown(self.zero_shot))]


def _interval(share: Interval | None) -> dict[str, float] | None:
    if share is None:
        return None
    return {name: round(getattr(share, name), _JSON_DIGITS) for name in ("value", "low", "high")}


def _shown(share: Interval | None) -> str:
    return "" if share is None else f"{share.value:.2f} ({share.low:.2f}–{share.high:.2f})"
