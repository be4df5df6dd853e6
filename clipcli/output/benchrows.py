"""The rows of `models bench`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

_DIGITS = 3


@dataclass(frozen=True)
class BenchRow:
    """One model on this machine."""

    model: str
    where: str
    """Device, precision, engine."""
    load_seconds: float
    """From nothing imported to ready for images and texts."""
    images_per_second: float
    """From a JPEG file of 640 × 480 to its vector."""
    texts_per_second: float
    peak_megabytes: float | None
    """The most memory of the process, in 10^6 bytes; None where the system does not tell."""
    ratio: float | None = None
    """Images a second, over those of the first model."""
    columns: ClassVar[tuple[str, ...]] = ("model", "where", "load_s", "images_s", "texts_s", "peak_mb", "ratio")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """The documented JSON object."""
        return {
            "model": self.model,
            "where": self.where,
            "load_seconds": round(self.load_seconds, _DIGITS),
            "images_per_second": round(self.images_per_second, _DIGITS),
            "texts_per_second": round(self.texts_per_second, _DIGITS),
            "peak_megabytes": None if self.peak_megabytes is None else round(self.peak_megabytes),
            "ratio": None if self.ratio is None else round(self.ratio, _DIGITS),
        }

    def cells(self) -> list[tuple[str, ...]]:
        """One line."""
        speeds = (f"{self.images_per_second:.1f}", f"{self.texts_per_second:.1f}")
        peak = "" if self.peak_megabytes is None else f"{self.peak_megabytes:.0f}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return [(self.model, self.where, f"{self.load_seconds:.2f}", *speeds, peak, ratio)]
