"""Measure the detail of a picture at full size, by which an original is told from its edits (`originals`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.tasks.dedupe.recompression import Compression, compression_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from clipcli.tasks.dedupe.sheets import Sheet

BANDS: Final = 20
SIDE: Final = 512
"""Most columns (or rows) whose sharpness is searched for a period."""
SHADES: Final = 128
_SMALLEST: Final = 16
_TONE: Final = 20.0
"""Grey values that count as much as a factor of ten in power."""
_TONE_SIDE: Final = 32
_FEWEST_COLUMNS: Final = 64
_AROUND: Final = 16
_CORNER: Final = 4
_PACKED: Final = np.dtype([
    ("power", "<f8", (BANDS,)), ("tone", "<f8", (4,)), ("own", "<f8", (13,)), ("former", "<f8", (13,)),
    ("content", "<i8", (2,)), ("total", "<i8"), ("corners", "<i8"), ("shades", "u1", (3, SHADES)),
    ("beats", "u1", (2, SIDE // 2 + 1)),
])  # fmt: skip


@dataclass(frozen=True)
class Detail:
    """The detail of a picture, and the traces of editing in it."""

    power: npt.NDArray[np.float64]
    """(20,) log10 of the power of the middle of the content, from the lowest to the highest frequencies."""
    tone: npt.NDArray[np.float64]
    """(4,) means of grey, Cb and Cr, divided by 20, and log10 of the variance of the colours."""
    compression: Compression
    content: tuple[int, int]
    """Height and width without plain borders, in pixels."""
    total: int
    """Number of pixels with plain borders."""
    corners: int
    """Largest difference of two grey values in the four corners, 0 to 255."""
    shades: npt.NDArray[np.uint8]
    """(3, 128) quantiles of red, green and blue of the content, from the darkest to the lightest."""
    beats: npt.NDArray[np.uint8]
    """(2, 257) strength of periodic sharpness of columns and of rows, by the number of periods in 512 pixels.

    In eighths of the usual strength at such frequencies.
    """

    @property
    def pixels(self) -> int:
        """Return the number of pixels without plain borders."""
        return self.content[0] * self.content[1]

    def pack(self) -> bytes:
        """Return the detail as bytes for the cache."""
        record = np.zeros((), _PACKED)
        for name in ("power", "tone", "content", "total", "corners", "shades", "beats"):
            record[name] = getattr(self, name)
        record["own"], record["former"] = self.compression.own, self.compression.former
        return record.tobytes()

    @classmethod
    def unpack(cls, data: bytes | None) -> Detail | None:
        """Return the detail from the bytes of `pack`; None for other bytes."""
        if data is None or len(data) != _PACKED.itemsize:
            return None
        record = np.frombuffer(data, _PACKED)[0]
        height, width = record["content"].tolist()
        return cls(
            record["power"], record["tone"], Compression(record["own"], record["former"]), (height, width),
            int(record["total"]), int(record["corners"]), record["shades"], record["beats"],
        )  # fmt: skip


def measure(picture: Image.Image, sheet: Sheet, steps: Sequence[int] | None = None) -> Detail:
    """Measure the detail of a picture.

    Args:
        picture: The picture in RGB, at full size.
        sheet: Its sheet, which has the region without plain borders.
        steps: The 64 quantisation steps of brightness of a JPEG file, by rows; None for other files.
    """
    top, bottom, left, right = sheet.regions[-1]
    upper, first = round(top * picture.height), round(left * picture.width)
    lower, last = max(round(bottom * picture.height), upper + 1), max(round(right * picture.width), first + 1)
    grey = np.asarray(picture.convert("L"), np.uint8)
    part = grey[upper:lower, first:last]
    return Detail(
        _power(part), _tone(sheet), compression_of(grey, steps), part.shape, grey.size, _corners(grey),
        _shades(picture.crop((first, upper, last, lower))), np.stack([_beats(part), _beats(part.T)]),
    )  # fmt: skip


def _power(part: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return (20,) log10 of the power of the middle of (height, width) grey values, by frequency."""
    side = min(SIDE, *part.shape) // 2 * 2
    if side < _SMALLEST:
        return np.full(BANDS, -3.0)
    low, first = (part.shape[0] - side) // 2, (part.shape[1] - side) // 2
    middle = part[low : low + side, first : first + side].astype(np.float32)
    window = np.hanning(side)[:, None] * np.hanning(side)[None, :]
    power = np.abs(np.fft.rfft2((middle - middle.mean()) * window)) ** 2 / (window**2).sum()
    down = np.fft.fftfreq(side)[:, None] * 2
    across = np.fft.rfftfreq(side)[None, :] * 2
    band = np.minimum(np.hypot(down, across) * BANDS, BANDS).astype(np.int64).ravel()
    sums = np.bincount(band, power.ravel(), BANDS + 1)[:BANDS]
    counts = np.maximum(np.bincount(band, minlength=BANDS + 1)[:BANDS], 1)
    return np.asarray(np.log10(sums / counts + 1e-3))


def _beats(part: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return (257,) the strength of periodic sharpness of the columns, in eighths of the usual strength.

    Interpolated pixels are softer than those from which they were computed (Gallagher, "Detection of Linear and Cubic
    Interpolation in JPEG Compressed Images", 2005).
    """
    count = min(part.shape[1], SIDE)
    if count < _FEWEST_COLUMNS:
        return np.zeros(SIDE // 2 + 1, np.uint8)
    first = (part.shape[1] - count) // 2
    values = part[:: max(1, len(part) // SIDE), first : first + count].astype(np.float32)
    bends = np.abs(2 * values[:, 1:-1] - values[:, :-2] - values[:, 2:]).mean(axis=0)
    bends /= np.convolve(np.pad(bends, 8, mode="edge"), np.ones(17) / 17, "valid") + 1e-3
    power = np.abs(np.fft.rfft((bends - bends.mean()) * np.hanning(bends.size), SIDE))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(power, _AROUND, mode="reflect"), 2 * _AROUND + 1)
    strength = np.pad(power / (np.median(around, axis=1) + 1e-9), (1, 2))
    # The size without borders is not exact, so the period is not either: look at neighbouring frequencies too.
    strength = np.lib.stride_tricks.sliding_window_view(strength, 4).max(axis=1)
    return np.asarray(np.clip(8 * strength, 0, 255).astype(np.uint8))


def _corners(grey: npt.NDArray[np.uint8]) -> int:
    """Return the largest difference of two grey values in the four corners."""
    lines = np.concatenate([grey[:_CORNER], grey[-_CORNER:]])
    return int(np.ptp(np.concatenate([lines[:, :_CORNER], lines[:, -_CORNER:]])))


def _shades(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Return (3, 128) quantiles of each colour."""
    counts = np.cumsum(np.array(picture.histogram()).reshape(3, 256), axis=1)
    positions = (np.arange(SHADES) + 0.5) / SHADES * counts[0, -1]
    return np.stack([np.searchsorted(colour, positions) for colour in counts]).astype(np.uint8)


def _tone(sheet: Sheet) -> npt.NDArray[np.float64]:
    content = sheet.regions[-1]
    grey, colours = sheet.cut(content, _TONE_SIDE), sheet.colours(content, _TONE_SIDE)
    means = colours.mean(axis=(1, 2))
    variance = float(((colours - means[:, None, None]) ** 2).mean())
    return np.array([float(grey.mean()) / _TONE, *(means / _TONE), np.log10(variance + 1)])
