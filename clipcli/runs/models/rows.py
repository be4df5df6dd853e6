"""The rows of `models list`, `info` and `verify`."""

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
    """Time from the first import until images and texts can be encoded."""
    images_per_second: float
    """From a JPEG file of 640 × 480 pixels to its vector."""
    texts_per_second: float
    peak_megabytes: float | None
    """Peak memory of the process, in 10^6 bytes; None if unknown."""
    ratio: float | None = None
    """Images per second, divided by those of the first model."""
    columns: ClassVar[tuple[str, ...]] = ("model", "where", "load_s", "images_s", "texts_s", "peak_mb", "ratio")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
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


@dataclass(frozen=True)
class ModelRow:
    """One model that can be named."""

    model: str
    parameters_millions: float | None
    image_size: int | None
    on_disk: bool
    dim: int | None = None
    head: str | None = None
    """`softmax` or `sigmoid`."""
    licence: str | None = None
    """Of the weights."""
    imagenet_top1: float | None = None
    """Published zero-shot accuracy, 0 to 1."""
    download_megabytes: int | None = None
    alias: str | None = None
    columns: ClassVar[tuple[str, ...]] = (
        "model", "params_m", "image", "dim", "head", "imagenet", "mb", "licence", "on_disk", "alias",
    )  # fmt: skip
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "model": self.model,
            "parameters_millions": self.parameters_millions,
            "image_size": self.image_size,
            "dim": self.dim,
            "head": self.head,
            "licence": self.licence,
            "imagenet_top1": self.imagenet_top1,
            "download_megabytes": self.download_megabytes,
            "on_disk": self.on_disk,
            "alias": self.alias,
        }

    def cells(self) -> list[tuple[str, ...]]:
        """One line; what is not known is empty."""
        accuracy = "" if self.imagenet_top1 is None else f"{self.imagenet_top1 * 100:.1f}"
        numbers = [
            "" if value is None else f"{value:g}" for value in (self.parameters_millions, self.image_size, self.dim)
        ]
        megabytes = "" if self.download_megabytes is None else str(self.download_megabytes)
        on_disk = "yes" if self.on_disk else ""
        words = (self.licence or "", on_disk, self.alias or "")
        return [(self.model, *numbers, self.head or "", accuracy, megabytes, *words)]


@dataclass(frozen=True)
class FactRow:
    """One fact about a model."""

    fact: str
    value: str | float | int | bool | None
    columns: ClassVar[tuple[str, ...]] = ("fact", "value")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """`{"fact": …, "value": …}`."""
        return {"fact": self.fact, "value": self.value}

    def cells(self) -> list[tuple[str, ...]]:
        """One line."""
        if self.value is None:
            return [(self.fact, "unknown")]
        if isinstance(self.value, bool):
            return [(self.fact, "yes" if self.value else "no")]
        return [(self.fact, str(self.value))]
