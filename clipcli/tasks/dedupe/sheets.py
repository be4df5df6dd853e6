"""The sheet of a picture: grey values at up to 640 pixels, colours, and the content without plain borders.

A region of a sheet is (top, bottom, left, right), each a share of its height or width, 0 to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

EDGE: Final = 640
"""Longest side of a sheet: a digit of a scanned form is five pixels high there."""
Grey: TypeAlias = npt.NDArray[np.float32]
Region: TypeAlias = "tuple[float, float, float, float]"
WHOLE: Final = (0.0, 1.0, 0.0, 1.0)
_CUT: Final = 0.1
"""Share that a window may leave out of each side. So there are 16 windows, and any crop of up to 13 % is near one."""
_WINDOWS: Final = tuple((top, 1 - bottom, left, 1 - right) for top, bottom, left, right in product((0, _CUT), repeat=4))
_SMALL: Final = 16
_COLOURS: Final = 64
_PLAIN: Final = 10.0
"""Largest range of grey values of a plain border: compression adds some noise."""
_BRIGHT: Final = 200.0
_DARK_GROUND: Final = 64.0
_COLOURED: Final = 8.0
"""Largest Cb or Cr of a pixel that counts as grey."""
_STEP: Final = 3.0
"""Largest slope of a flat cell, in grey values per pixel."""
_FLAT_CELL: Final = 8
_FULL: Final = 253
_NOT_FULL: Final = 235
_GRAIN: Final = 12
_GROUND: Final = 0.2


@dataclass(frozen=True)
class Sheet:
    """The features by which two pictures are compared."""

    grey: npt.NDArray[np.uint8]
    """(height, width), at most 640."""
    colour: npt.NDArray[np.int8]
    """(64, 64, 3) of the whole picture, resized to a square: Cb / 2, Cr / 2, and the percentage of clipped pixels."""
    pixels: tuple[int, int]
    """Height and width of the full picture, in pixels."""
    regions: tuple[Region, ...]
    """The whole, then the content without a plain border, then the same once more if that has a plain border."""
    drawn: float
    """Share that is flat or of one shade with grain: near 0 for a photo, 0.3 or more for a page or a chart."""
    plain: bool
    """Whether it has one shade everywhere."""
    windows: tuple[Region, ...] = field(init=False)
    descriptors: Grey = field(init=False)
    """(windows, 256): each window at 16 × 16, with mean 0 and length 1. The first of every 16 is one of `regions`."""

    def __post_init__(self) -> None:
        windows = tuple(within(outer, window) for outer in self.regions for window in _WINDOWS)
        object.__setattr__(self, "windows", windows)
        descriptors = np.concatenate([self._cut_windows(outer) for outer in self.regions])
        descriptors -= descriptors.mean(axis=1, keepdims=True)
        object.__setattr__(
            self, "descriptors", descriptors / (np.linalg.norm(descriptors, axis=1, keepdims=True) + 1e-3)
        )

    def _cut_windows(self, region: Region) -> Grey:
        """Return (16, 256): every window of a region, from four cuts of each axis."""
        top, bottom, left, right = region
        height, width = self.grey.shape
        rows = _spans(top, bottom, height) @ self.grey
        cuts = rows @ _spans(left, right, width).T
        cuts = cuts.reshape(2, 2, _SMALL, 2, 2, _SMALL).transpose(0, 1, 3, 4, 2, 5)
        return np.asarray(cuts.reshape(len(_WINDOWS), -1), np.float32)

    def cut(self, region: Region, side: int) -> Grey:
        """Return (side, side) grey values of a region, 0 to 255."""
        top, bottom, left, right = region
        rows, columns = self.grey.shape
        return np.asarray(span(top, bottom, rows, side) @ self.grey @ span(left, right, columns, side).T, np.float32)

    def colours(self, region: Region, side: int) -> Grey:
        """Return (2, side, side) Cb and Cr of a region, -128 to 127."""
        top, bottom, left, right = region
        rows, columns = span(top, bottom, _COLOURS, side), span(left, right, _COLOURS, side)
        values = self.colour[..., :2].transpose(2, 0, 1).astype(np.float32)
        return np.asarray(rows @ (2 * values) @ columns.T, np.float32)

    def clipped(self, region: Region, side: int) -> Grey:
        """Return (side, side): the share of pixels with clipped tones (one colour is full, another is not), 0 to 1."""
        top, bottom, left, right = region
        rows, columns = span(top, bottom, _COLOURS, side), span(left, right, _COLOURS, side)
        return np.asarray(rows @ (self.colour[..., 2].astype(np.float32) / 100) @ columns.T, np.float32)

    def longest(self, region: Region) -> int:
        """Return the longer side of a region, in pixels of the sheet."""
        top, bottom, left, right = region
        return int(round(max((bottom - top) * self.grey.shape[0], (right - left) * self.grey.shape[1])))  # noqa: RUF046 - of numpy


def within(outer: Region, inner: Region) -> Region:
    """Return a region of a region, as a region of the whole."""
    top, bottom, left, right = outer
    one, two, three, four = inner
    height, width = bottom - top, right - left
    return top + height * one, top + height * two, left + width * three, left + width * four


def area(region: Region) -> float:
    """Return the area of a region as a share of the whole."""
    top, bottom, left, right = region
    return (bottom - top) * (right - left)


def sheet_of(image: Image.Image, pixels: tuple[int, int] | None = None) -> Sheet:
    """Return the sheet of a decoded picture of any mode.

    `pixels` where it was shrunk before: its own height and width.
    """
    from PIL import Image as Pillow

    own = pixels or (image.height, image.width)
    share = min(1.0, EDGE / max(image.size))
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    small = image if share == 1 else grounded(image).resize(size, Pillow.Resampling.BOX, reducing_gap=3.0)
    flat = grounded(small)
    grey = np.asarray(flat.convert("L"), np.uint8)
    square = flat.resize((_COLOURS, _COLOURS), Pillow.Resampling.BOX).convert("YCbCr")
    clipped = np.asarray(_cut_off(flat).resize((_COLOURS, _COLOURS), Pillow.Resampling.BOX), np.int8)
    colour = np.round((np.asarray(square, np.float32)[..., 1:] - 128) / 2).astype(np.int8)
    return sheet_from(grey, np.dstack([colour, clipped]), own)


def _cut_off(image: Image.Image) -> Image.Image:
    """Return 100 where some colour of an RGB picture is full and another is not, else 0."""
    from PIL import Image as Pillow
    from PIL import ImageChops

    red, green, blue = image.split()
    highest = np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))
    lowest = np.asarray(ImageChops.darker(ImageChops.darker(red, green), blue))
    return Pillow.fromarray(((highest >= _FULL) & (lowest < _NOT_FULL)).astype(np.uint8) * np.uint8(100))


def is_coloured(image: Image.Image) -> bool:
    """Return whether any place of a picture is not grey; compression tints grey pictures a little."""
    from PIL import Image as Pillow

    square = grounded(image).resize((_COLOURS, _COLOURS), Pillow.Resampling.BOX).convert("YCbCr")
    return bool(np.abs(np.asarray(square, np.int16)[..., 1:] - 128).max() > _COLOURED)


def sheet_from(grey: npt.NDArray[np.uint8], colour: npt.NDArray[np.int8], pixels: tuple[int, int]) -> Sheet:
    """Return a sheet of grey values and colours that were made before, such as turned ones."""
    plain = int(np.ptp(grey)) <= _PLAIN
    return Sheet(grey, colour, pixels, content_regions(grey), flat_share(grey), plain)


def content_regions(grey: npt.NDArray[np.uint8]) -> tuple[Region, ...]:
    """Return the whole; what is left without a plain border; and once more where that has a plain border."""
    regions: list[Region] = [WHOLE]
    for _ in range(2):
        inner = _content(grey, regions[-1])
        if inner is None or inner == regions[-1]:
            break
        regions.append(inner)
    return tuple(regions)


def grounded(image: Image.Image) -> Image.Image:
    """Eight-bit RGB; transparency lies on white, and on dark grey where what can be seen is nearly white itself.

    Wider numbers are scaled to what they span, as a viewer would show them.
    """
    from PIL import Image as Pillow

    if image.mode in {"I", "F", "I;16", "I;16B", "I;16L"}:
        values = np.asarray(image, np.float32)
        low, high = float(values.min()), float(values.max())
        image = Pillow.fromarray(np.uint8((values - low) * (255 / (high - low) if high > low else 0)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"), np.float32)
        seen = float((np.asarray(rgba.convert("L"), np.float32) * alpha).sum()) / max(1.0, float(alpha.sum()))
        shade = int(_DARK_GROUND) if seen > _BRIGHT and alpha.min() < 255 else 255  # noqa: PLR2004 - opaque
        ground = Pillow.new("RGBA", rgba.size, (shade, shade, shade, 255))
        return Pillow.alpha_composite(ground, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=1024)
def span(low: float, high: float, size: int, side: int) -> Grey:
    """Return (side, size): resample a region, `low` to `high` of `size` values, to `side` by triangle filters."""
    width = (high - low) * size / side
    middle = np.clip(low * size + width * (np.arange(side) + 0.5), 0.5, size - 0.5)
    half = max(1.0, width)
    reach = min(size, 2 * math.ceil(half) + 1)  # what is further away has no weight
    first = np.clip(np.ceil(middle - 0.5 - half), 0, size - reach).astype(np.int64)
    places = first[:, None] + np.arange(reach)
    weights = np.clip(1 - np.abs(middle[:, None] - places - 0.5) / half, 0, None)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    whole = np.zeros((side, size), np.float32)
    np.put_along_axis(whole, places, weights.astype(np.float32), axis=1)
    return whole


def _spans(low: float, high: float, size: int) -> Grey:
    """Return (4 × 16, size): the four cuts of one axis of a region by windows, stacked."""
    length = high - low
    cuts = ((low + length * start, low + length * (1 - stop)) for start, stop in product((0, _CUT), repeat=2))
    return np.concatenate([span(start, stop, size, _SMALL) for start, stop in cuts])


def quantile(values: npt.NDArray[np.floating[Any]], share: float = 0.5) -> float:
    """Return a quantile of some values, four times as fast as numpy for a few thousand values."""
    position = (values.size - 1) * share
    low = int(position)
    ordered = np.partition(values, low, axis=None)
    first = float(ordered[low])
    if position == low:
        return first
    second = float(ordered[low + 1 :].min())  # takes half the time of a partition at two positions
    return first + (second - first) * (position - low)


def _content(grey: npt.NDArray[np.uint8], region: Region) -> Region | None:
    """Return a region without its border of one shade; None if nothing remains."""
    height, width = grey.shape
    top, bottom, left, right = (
        round(share * size) for share, size in zip(region, (height, height, width, width), strict=True)
    )
    shade: float | None = None
    for _ in range(4):  # a letterbox inside a pillarbox
        if top >= bottom or left >= right:
            return None
        (above, below), shade = _lead(grey[top:bottom, left:right], shade)
        if above + below >= bottom - top:
            return None
        top, bottom = top + above, bottom - below
        (before, after), shade = _lead(grey[top:bottom, left:right].T, shade)
        if before + after >= right - left:
            return None
        left, right = left + before, right - after
        if not (above or below or before or after):
            break
    return top / height, bottom / height, left / width, right / width


def _lead(lines: npt.NDArray[np.uint8], shade: float | None) -> tuple[tuple[int, int], float | None]:
    """Count the lines of one shade at the start and the end; the shade is the given one, or that of the first line."""
    if all(int(line.max()) - int(line.min()) > _PLAIN for line in (lines[0], lines[-1])):
        return (0, 0), shade
    highest, lowest = lines.max(axis=1).astype(np.float32), lines.min(axis=1).astype(np.float32)
    counts = []
    for high, low in ((highest, lowest), (highest[::-1], lowest[::-1])):
        if high[0] - low[0] > _PLAIN:
            counts.append(0)
            continue
        if shade is None:
            shade = float(high[0] + low[0]) / 2
        plain = (high <= shade + _PLAIN) & (low >= shade - _PLAIN)
        counts.append(len(plain) if plain.all() else int(np.argmin(plain)))
    return (counts[0], counts[1]), shade


def flat_share(grey: npt.NDArray[np.uint8]) -> float:
    """Return the share of grey values (height, width) that is flat, or one shade with grain, 0 to 1."""
    height, width = grey.shape
    rows, columns = height // _FLAT_CELL, width // _FLAT_CELL
    if not rows or not columns:
        return 0.0
    slope = np.zeros_like(grey)
    slope[:, 1:] = _absolute_difference(grey[:, 1:], grey[:, :-1])
    slope[1:] = np.maximum(slope[1:], _absolute_difference(grey[1:], grey[:-1]))
    lines = slope[: rows * _FLAT_CELL, : columns * _FLAT_CELL].reshape(rows, _FLAT_CELL, -1).max(axis=1)
    cells = lines.reshape(rows, columns, _FLAT_CELL).max(axis=2)
    shades = np.bincount(grey.ravel(), minlength=256)
    ground = float(np.convolve(shades, np.ones(2 * _GRAIN + 1), mode="same").max()) / grey.size
    return max(float((cells <= _STEP).mean()), ground - _GROUND)


def _absolute_difference(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the absolute difference of 8-bit values, without overflow."""
    return np.maximum(first, second) - np.minimum(first, second)
