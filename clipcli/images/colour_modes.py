"""Convert a decoded picture of any mode to 8-bit RGB as a viewer shows it, in the same way for every command."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Tags = Mapping[int, Any]
    "A TIFF file's; empty for other formats."
    Samples = npt.NDArray[Any]
    "(height, width) of any number type."

_BLOCK: Final = 1 << 22
"""Pixels scaled at a time, so that a large picture needs little extra memory."""
_SIXTEENTH: Final = 16
_BYTE, _TWELVE_BITS, _WORD = 255.0, 4095.0, 65535.0
_FLOAT_RANGES: Final = (1.0, _BYTE, _TWELVE_BITS, _WORD)

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT, _MAX_SAMPLE_VALUE = 258, 262, 339, 281
_WHITE_IS_ZERO: Final = 0
_SIGNED: Final = 2


def is_deep(image: Image.Image) -> bool:
    """Return whether the picture is grey with more than 8 bits per pixel."""
    return image.mode in {"I", "F"} or image.mode.startswith("I;16")


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a picture of mode I, F or I;16… to mode L, using the tags of a TIFF file.

    Raises:
        ValueError: no value is finite.
    """
    tags: Tags = getattr(image, "tag_v2", {})
    samples = np.asarray(image)
    if image.mode == "I" and tags and _first(tags, _SAMPLE_FORMAT, 1) != _SIGNED:
        samples = samples.view(np.uint32)  # Pillow has no mode for unsigned 32 bits
    black, white = _range(image, tags, *_extremes(samples))
    grey = np.empty(samples.shape, np.uint8)
    for rows in _blocks(samples):
        grey[rows] = _scaled(samples[rows], black, white)
    if tags and _first(tags, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        np.subtract(255, grey, out=grey)
    return Image.fromarray(grey)


def lift(image: Image.Image) -> Image.Image:
    """Scale 48-bit RGB with 12 significant bits per colour, of which Pillow has kept only the upper 4.

    A picture has 12 bits if a TIFF's MaxSampleValue says so, or if there is no such tag and no value is larger. Other
    pictures are returned unchanged.
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
    """Return the values of black and white."""
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
    """Return the largest value of the depth stated in a TIFF file, unless it is just the 16 or 32 bits of storage."""
    bits, highest = _first(tags, _BITS_PER_SAMPLE, 16), _first(tags, _MAX_SAMPLE_VALUE, 0)
    if isinstance(highest, int) and highest > 0:
        # Rounded up to whole bits, since the tag may also hold the largest value that occurs.
        return float(2 ** highest.bit_length() - 1)
    return float(2**bits - 1) if bits < 16 else None  # noqa: PLR2004 - larger depths are storage sizes


def _first(tags: Tags, tag: int, default: int) -> Any:
    value = tags.get(tag, default)
    if isinstance(value, tuple):
        value = value[0] if value else default
    return value


def _extremes(samples: Samples) -> tuple[float, float]:
    """Return the lowest and highest finite number. Raises ValueError."""
    low, high = math.inf, -math.inf
    for rows in _blocks(samples):
        block = samples[rows]
        if block.dtype.kind == "f":
            block = block[np.isfinite(block)]
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    if low > high:
        raise ValueError("none of its values is finite")
    return low, high


def _scaled(samples: Samples, black: float, white: float) -> npt.NDArray[np.uint8]:
    values = (samples.astype(np.float64) - black) * (_BYTE / (white - black) if white > black else 0.0)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=_BYTE, neginf=0.0)
    return np.rint(np.clip(values, 0, _BYTE)).astype(np.uint8)


def _blocks(samples: Samples) -> Iterator[slice]:
    height, width = samples.shape
    step = max(1, _BLOCK // max(1, width))
    return (slice(start, start + step) for start in range(0, height, step))


Colour: TypeAlias = "tuple[int, int, int]"
"""Red, green and blue, 0 to 255 each."""

WHITE: Final[Colour] = (255, 255, 255)


@dataclass(frozen=True)
class Rendering:
    """The conversion of pixels to RGB. Its settings are part of `name`, and so of the key of every vector."""

    background: Colour = WHITE
    """The colour behind transparent parts."""
    bare: bool = False
    """Keep the file's own mode, which open_clip's inference transform expects."""

    @property
    def name(self) -> str:
        """Return the name in caches and files of vectors: `bare`, or `rgb on #ffffff`."""
        return "bare" if self.bare else "rgb on #{:02x}{:02x}{:02x}".format(*self.background)

    def apply(self, image: Image.Image) -> Image.Image:
        """Return the picture in mode RGB, or unchanged if the rendering is bare.

        Pictures in 8-bit RGB without transparency are returned unchanged. Palettes, bilevel, grey, CMYK, YCbCr, LAB and
        HSV are converted by Pillow at full size, so that a later resize mixes colours and not palette indices. Grey of
        more than 8 bits is scaled (`to_eight_bits`); transparent parts show the background.

        Raises:
            ValueError: Pillow cannot convert the mode to RGB, or no value is finite.
        """
        if self.bare:
            return image
        if is_deep(image):
            return self._deep(image)
        image = lift(image)
        if image.mode == "RGB" and "transparency" not in image.info:
            return image
        if image.has_transparency_data:
            return self._flat(image.convert("LA") if image.mode == "La" else image)
        return image.convert("RGB")

    def _flat(self, image: Image.Image) -> Image.Image:
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return rgba.convert("RGB")
        flat = Image.new("RGB", image.size, self.background)
        flat.paste(rgba, mask=alpha)
        return flat

    def _deep(self, image: Image.Image) -> Image.Image:
        grey = to_eight_bits(image).convert("RGB")
        key = image.info.get("transparency")
        if not isinstance(key, int):
            return grey
        flat = Image.new("RGB", image.size, self.background)
        flat.paste(grey, mask=Image.fromarray(np.asarray(image) != key))
        return flat


ON_WHITE: Final = Rendering()
BARE: Final = Rendering(bare=True)


def parse_colour(text: str) -> Colour:
    """Parse a CSS colour name, `#rgb`, `#rrggbb` or `rgb(r, g, b)`.

    Raises:
        UsageError: the text is none of these, or Pillow does not know the colour.
    """
    try:
        red, green, blue = ImageColor.getrgb(text.strip())[:3]
    except ValueError:
        hint = "white, black, '#3366ff', 'rgb(51, 102, 255)'"
        raise UsageError(f"--background-colour {text!r}: no such colour", hint=hint) from None
    return red, green, blue
