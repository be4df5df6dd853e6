"""One picture → a signature; two signatures → whether they show the same picture, an edited one, or neither.

1. Beginnings: windows of both, and what is left of each without its plain borders, at 16 × 16 (`sheets`).
2. The one is moved onto the other, by parts of a pixel, turned a little where that helps (`aligning`).
3. The one is predicted from the other, and what is left is held against what copies leave (`differing`): spread over
   the picture it is *near*, in one place it is *edited*. Colours likewise.
4. What lies outside the shared part (`margins`): a plain border of any size and a small crop are *near*, a caption
   is *edited*.

The verdict on two pictures depends on these two alone. docs/dedupe.md has the measurements behind every number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from clipcli.tasks.dedupe.alignment import DRAWN, align
from clipcli.tasks.dedupe.difference import colour_difference, difference
from clipcli.tasks.dedupe.margins import beside, moved
from clipcli.tasks.dedupe.sheets import Sheet, quantile, sheet_from, sheet_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

    from clipcli.tasks.dedupe.alignment import AlignedPair
    from clipcli.tasks.dedupe.pairs import Bits

NAMES: Final = (
    "upright", "turned 90°", "turned 180°", "turned 270°",
    "mirrored", "mirrored, turned 90°", "mirrored, turned 180°", "mirrored, turned 270°",
)  # fmt: skip
TURNS: Final = len(NAMES)


def turn(array: npt.NDArray[Any], number: int) -> npt.NDArray[Any]:
    """Return the picture (height, width, …) in one of the eight ways, by its place in `NAMES`.

    Quarter turns are clockwise.
    """
    mirrored = array[:, ::-1] if number >= TURNS // 2 else array
    return np.ascontiguousarray(np.rot90(mirrored, -(number % 4)))


Verdict = Literal["near", "edited", "other"]

_SIDE: Final = 64
_PEAK: Final = 10.0
"""Where *near* ends on the scale of `Likeness.peak`, and the largest block of colour of a copy."""
_PEAK_PHOTO: Final = 8.0
"""The largest block of a copy, in multiples of what its blocks have everywhere."""
_PEAK_DRAWN: Final = 7.0
"""The same for pages, screens and charts, where a digit is all that differs."""
_FLOOR: Final = 4.0
"""The median block of a copy, in multiples of what is expected."""
_EDITED_SHARE: Final = 0.35
"""Share of blocks that an edit may change; beyond, it is another picture."""
_CORRELATES: Final = 0.85
_EDITED_CORRELATES: Final = 0.7
_SLOPES: Final = (0.25, 4.0)
_FLAT_SHIFT: Final = 3.0


@dataclass(frozen=True)
class Signature:
    """The features of a picture for comparison."""

    hashes: Bits
    """(1 or 8, 32) uint8: the hash upright, and of the seven turns where they were asked for."""
    sheet: Sheet


class Likeness(NamedTuple):
    """The comparison of two pictures."""

    verdict: Verdict
    distance: int
    """Differing bits of 256 between their hashes, at the turn that fits best."""
    structure: float
    """Correlation of grey values where both show the same, -1 to 1."""
    turn: int
    """The orientation (of eight) in which the second looks like the first; 0 is upright."""
    peak: float = 0.0
    """The block that differs most beside what differs everywhere; 10 is where *near* ends."""

    @property
    def same(self) -> bool:
        """Return whether they show the same picture."""
        return self.verdict == "near"


def sign(image: Image.Image, *, turns: bool = False, pixels: tuple[int, int] | None = None) -> Signature:
    """Return the signature of a decoded picture of any mode.

    Args:
        image: The picture, or a smaller one of it.
        turns: Whether its turned hashes are wanted too.
        pixels: Height and width of the picture itself, where `image` is smaller.
    """
    from PIL import Image as Pillow

    sheet = sheet_of(image, pixels)
    grey = np.asarray(Pillow.fromarray(sheet.grey).resize((_SIDE, _SIDE), Pillow.Resampling.BOX), np.uint8)
    which = range(TURNS) if turns else range(1)
    hashes = np.stack([_hash(turn(grey, number)) for number in which])
    return Signature(hashes, sheet)


def compare(first: Signature, second: Signature) -> Likeness:
    """Return how two signatures compare; at the turn that fits best where both have turned hashes."""
    count = min(len(first.hashes), len(second.hashes))
    distances = [int(np.unpackbits(first.hashes[0] ^ second.hashes[n]).sum()) for n in range(count)]
    number = int(np.argmin(distances))
    turn_fits = None
    if number:
        verdict, structure, peak = _judge(first.sheet, turned(second.sheet, number))
        turn_fits = Likeness(verdict, distances[number], structure, number, peak)
        if verdict == "near":
            return turn_fits
    verdict, structure, peak = _judge(first.sheet, second.sheet)
    if verdict == "other" and turn_fits is not None and turn_fits.verdict == "edited":
        return turn_fits
    return Likeness(verdict, distances[0], structure, 0, peak)


def turned(sheet: Sheet, number: int) -> Sheet:
    """Return the sheet of a picture that is laid down in another way."""
    pixels = sheet.pixels[::-1] if number % 2 else sheet.pixels
    return sheet_from(turn(sheet.grey, number), turn(sheet.colour, number), pixels)


def _judge(one: Sheet, other: Sheet) -> tuple[Verdict, float, float]:
    """Return the verdict, the correlation and the peak."""
    if one.plain or other.plain:
        return _judge_plain(one, other)
    pair = align(one, other)
    if pair is None:
        return "other", float(one.looks[0] @ other.looks[0]), 0.0
    limit = _PEAK_DRAWN if min(one.drawn, other.drawn) > DRAWN else _PEAK_PHOTO
    found = difference(one, other, pair, limit)
    peak = found.peak * _PEAK / limit
    sloped = _SLOPES[0] <= found.slope <= _SLOPES[1]
    if not sloped or found.correlation < _EDITED_CORRELATES or found.floor > _FLOOR or found.share > _EDITED_SHARE:
        return "other", pair.correlation, peak
    peak = max(peak, colour_difference(one, other, pair))
    if peak > _PEAK or found.alone or found.correlation < _CORRELATES or _has_more(one, other, pair):
        return "edited", pair.correlation, peak
    return "near", pair.correlation, peak


def _has_more(one: Sheet, other: Sheet, pair: AlignedPair) -> bool:
    margins = beside(one, pair.stretches[0]), beside(other, pair.stretches[1])
    return "more" in margins or moved(one, other, pair)


def _judge_plain(one: Sheet, other: Sheet) -> tuple[Verdict, float, float]:
    """Pictures of one shade are the same where the shade and the colour are."""
    shift = abs(float(one.grey.mean()) - float(other.grey.mean()))
    colours = [2.0 * sheet.colour[..., :2].astype(np.float32).mean((0, 1)) for sheet in (one, other)]
    same = (
        one.plain
        and other.plain
        and shift < _FLAT_SHIFT
        and float(np.abs(colours[0] - colours[1]).max()) < 2 * _FLAT_SHIFT
    )
    return "near" if same else "other", 1 - shift / 255, 0.0


def _hash(grey: npt.NDArray[np.uint8]) -> Bits:
    """The perceptual hash of Zauner ("Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).

    The lowest frequencies of a cosine transform, each told by whether it is above the median of all.
    """
    from PIL import Image

    size = (_HASH_PIXELS, _HASH_PIXELS)
    pixels = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS), np.float64)
    lowest = _COSINES @ pixels @ _COSINES.T
    return np.packbits(lowest > quantile(lowest))


def _cosines(frequencies: int, pixels: int) -> npt.NDArray[np.float64]:
    """Return the first rows of the discrete cosine transform, (frequencies, pixels): of type II, not normalised."""
    at = 2 * np.arange(pixels) + 1
    return np.asarray(2 * np.cos(np.pi * np.arange(frequencies)[:, None] * at / (2 * pixels)))


_HASH_SIDE = 16
_HASH_PIXELS = 4 * _HASH_SIDE
_COSINES = _cosines(_HASH_SIDE, _HASH_PIXELS)
