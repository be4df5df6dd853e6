"""A decoded picture of any mode → 8-bit RGB as a viewer shows it: the one rule for every command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from PIL import Image, ImageColor

from clipcli.errors import UsageError
from clipcli.images.deep_grey import is_deep, lift, to_eight_bits

Colour: TypeAlias = "tuple[int, int, int]"
"""Red, green and blue, 0 to 255 each."""

WHITE: Final[Colour] = (255, 255, 255)


@dataclass(frozen=True)
class Rendering:
    """How the pixels of a file become RGB. What changes them stands in `name`, and so in the key of every vector."""

    background: Colour = WHITE
    """What shows through transparent parts."""
    bare: bool = False
    """Hand the picture on in the file's own mode, as open_clip's bare inference transform takes it."""

    @property
    def name(self) -> str:
        """What a cache and a file of vectors call it: `bare`, or `rgb on #ffffff`."""
        return "bare" if self.bare else "rgb on #{:02x}{:02x}{:02x}".format(*self.background)

    def apply(self, image: Image.Image) -> Image.Image:
        """The picture in mode RGB, or as it is where the rendering is bare.

        Pictures in 8-bit RGB without transparency come back unchanged. Palettes, bilevel, grey, CMYK, YCbCr, LAB and
        HSV become RGB as Pillow converts them, at full size, so that a later resize mixes colours and not indexes.
        Deep greys are scaled to 8 bits (`deep_grey`), transparent parts show the background.

        Raises:
            ValueError: a mode that Pillow cannot turn into RGB, or numbers none of which is finite.
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
    """A name that CSS knows, `#rgb`, `#rrggbb` or `rgb(r, g, b)`.

    Raises:
        UsageError: none of these, or a colour that Pillow does not know.
    """
    try:
        red, green, blue = ImageColor.getrgb(text.strip())[:3]
    except ValueError:
        hint = "white, black, '#3366ff', 'rgb(51, 102, 255)'"
        raise UsageError(f"--background {text!r}: no such colour", hint=hint) from None
    return red, green, blue
