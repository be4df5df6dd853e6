"""The rows of `calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from clipcli.runs.classify.learned_files import LabelThreshold

_JSON_DIGITS = 6


@dataclass(frozen=True)
class CalibratedRow:
    """One label: its threshold, and its precision and recall on held-out images."""

    threshold: LabelThreshold
    columns: ClassVar[tuple[str, ...]] = ("label", "threshold", "images", "precision", "recall", "from")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "label": self.threshold.label,
            "threshold": round(self.threshold.threshold, _JSON_DIGITS),
            "images": self.threshold.images,
            "precision": _interval(self.threshold.precision),
            "recall": _interval(self.threshold.recall),
            "own": self.threshold.own,
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line, with intervals in brackets."""
        label_threshold = self.threshold
        shares = (_text(label_threshold.precision), _text(label_threshold.recall))
        origin = "its images" if label_threshold.own else "all labels"
        return [
            (label_threshold.label, f"{label_threshold.threshold:.4f}", str(label_threshold.images), *shares, origin)
        ]


def _interval(share: tuple[float, float, float] | None) -> dict[str, float] | None:
    if share is None:
        return None
    return {name: round(value, _JSON_DIGITS) for name, value in zip(("value", "low", "high"), share, strict=True)}


def _text(share: tuple[float, float, float] | None) -> str:
    return "" if share is None else f"{share[0]:.2f} ({share[1]:.2f}–{share[2]:.2f})"
