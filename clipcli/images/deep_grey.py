"""Grey pictures of more than 8 bits → 8 bits: 16-bit, 12 bits in 16, 32-bit whole numbers and floats.

Pillow's own conversion cuts such numbers at 255, so that a 16-bit scan is white and a float picture black. Here the
numbers from black to white are scaled to 0 … 255. Which number is white:

* 16 bits without a sign: the depth that the file states (TIFF's BitsPerSample, or as many bits as its MaxSampleValue
  takes). Where none is stated, the narrowest of 8, 12 and 16 bits that holds every value.
* Other whole numbers: the narrowest of 8, 12 and 16 bits (15 in 16 with a sign) and the full depth.
* Floats: the narrowest of 1, 255, 4095 and 65535.
* Where numbers of the last two kinds are negative, larger, or do not reach a sixteenth of that: from the lowest to the
  highest value, as viewers of such files do it.

What is not finite is black; plus infinity is white.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Tags = Mapping[int, Any]
    """A TIFF file's; empty for other formats."""
    Samples = npt.NDArray[Any]
    """(height, width) of any number type."""

_BLOCK: Final = 1 << 22
"""Pixels that are scaled at once, so that a large picture takes little more memory than its own numbers."""
_SIXTEENTH: Final = 16
_BYTE, _TWELVE_BITS, _WORD = 255.0, 4095.0, 65535.0
_FLOAT_RANGES: Final = (1.0, _BYTE, _TWELVE_BITS, _WORD)

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT, _MAX_SAMPLE_VALUE = 258, 262, 339, 281
_WHITE_IS_ZERO: Final = 0
_SIGNED: Final = 2


def is_deep(image: Image.Image) -> bool:
    """Whether the picture is grey with numbers of more than 8 bits."""
    return image.mode in {"I", "F"} or image.mode.startswith("I;16")


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a picture of mode I, F or I;16… to mode L; a TIFF's tags are looked at.

    Raises:
        ValueError: none of its numbers is finite.
    """
    tags: Tags = getattr(image, "tag_v2", {})
    samples = np.asarray(image)
    if image.mode == "I" and tags and _first(tags, _SAMPLE_FORMAT, 1) != _SIGNED:
        samples = samples.view(np.uint32)  # Pillow has no mode for 32 bits without a sign
    black, white = _range(image, tags, *_extremes(samples))
    grey = np.empty(samples.shape, np.uint8)
    for rows in _blocks(samples):
        grey[rows] = _scaled(samples[rows], black, white)
    if tags and _first(tags, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        np.subtract(255, grey, out=grey)
    return Image.fromarray(grey)


def lift(image: Image.Image) -> Image.Image:
    """Scale RGB of 48 bits that hold only 12 each, of which Pillow has kept the upper 8: the upper 4 are left.

    They are 12 bits where a TIFF's MaxSampleValue says so, or where nothing is said and no value has more. Any other
    picture comes back unchanged.
    """
    tags: Tags = getattr(image, "tag_v2", {})
    depth = _first(tags, _BITS_PER_SAMPLE, image.info.get("sample_depth", 8))
    if image.mode not in {"RGB", "RGBA"} or depth != 16 or "transparency" in image.info:  # noqa: PLR2004
        return image
    highest = int(np.asarray(image).max())
    stated = int(_stated_depth(tags) or _TWELVE_BITS) >> 8
    if not 0 < highest <= stated < _BYTE:
        return image
    return image.point([min(255, round(number * _BYTE / stated)) for number in range(256)] * len(image.mode))


def _range(image: Image.Image, tags: Tags, low: float, high: float) -> tuple[float, float]:
    """The numbers that are black and white."""
    stated = _stated_depth(tags)
    if stated is not None and low >= 0 and high <= stated:
        return 0, stated
    if image.format == "PPM" and image.mode == "I":
        return 0, _WORD  # Pillow has scaled them by the file's own largest value
    if image.mode.startswith("I;16") or (image.mode == "I" and not tags and low >= 0 and high <= _WORD):
        return 0, next(top for top in (_BYTE, _TWELVE_BITS, _WORD) if high <= top)
    ranges = _FLOAT_RANGES if image.mode == "F" else _whole_ranges(tags)
    narrowest = next((top for top in ranges if high <= top), math.inf)
    if low >= 0 and high >= narrowest / _SIXTEENTH:
        return 0, narrowest
    return low, high


def _whole_ranges(tags: Tags) -> Sequence[float]:
    depth = _first(tags, _BITS_PER_SAMPLE, 32) - (_first(tags, _SAMPLE_FORMAT, _SIGNED) == _SIGNED)
    full = float(2**depth - 1)
    return (*(top for top in (_BYTE, _TWELVE_BITS, _WORD) if top < full), full)


def _stated_depth(tags: Tags) -> float | None:
    """The largest number of the depth that a TIFF file states, where that is not simply its 16 or 32 bits."""
    bits, highest = _first(tags, _BITS_PER_SAMPLE, 16), _first(tags, _MAX_SAMPLE_VALUE, 0)
    if isinstance(highest, int) and highest > 0:
        # As the number of bits, since the tag may as well hold the largest value that occurs.
        return float(2 ** highest.bit_length() - 1)
    return float(2**bits - 1) if bits < 16 else None  # noqa: PLR2004 - wider is how it is stored


def _first(tags: Tags, tag: int, default: int) -> Any:
    value = tags.get(tag, default)
    if isinstance(value, tuple):
        value = value[0] if value else default
    return value


def _extremes(samples: Samples) -> tuple[float, float]:
    """The lowest and highest finite number. Raises ValueError."""
    low, high = math.inf, -math.inf
    for rows in _blocks(samples):
        some = samples[rows]
        if some.dtype.kind == "f":
            some = some[np.isfinite(some)]
        if some.size:
            low, high = min(low, float(some.min())), max(high, float(some.max()))
    if low > high:
        raise ValueError("none of its numbers is finite")
    return low, high


def _scaled(samples: Samples, black: float, white: float) -> npt.NDArray[np.uint8]:
    values = (samples.astype(np.float64) - black) * (_BYTE / (white - black) if white > black else 0.0)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=_BYTE, neginf=0.0)
    return np.rint(np.clip(values, 0, _BYTE)).astype(np.uint8)


def _blocks(samples: Samples) -> Iterator[slice]:
    height, width = samples.shape
    step = max(1, _BLOCK // max(1, width))
    return (slice(start, start + step) for start in range(0, height, step))
