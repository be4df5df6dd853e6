"""Compute a picture's signature, and compare two: the same picture, an edited one, or another.

1. Starting points: windows of both pictures, and both without their plain borders, at 16 × 16 (`sheets`).
2. Alignment: the second picture is moved onto the first with subpixel accuracy, and rotated slightly (`alignment`,
   `motion`).
3. Residual: the first picture is predicted from the second, and the residual is compared with that of copies
   (`difference`): spread over the picture it is *near*, in one place it is *edited*. The same for colours.
4. Margins: outside the shared part, a plain border of any size and a small crop are *near*, a caption is *edited*
   (`margins`).

The verdict depends on the two pictures only. docs/dedupe.md has the measurements behind every number.
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
    from collections.abc import Sequence

    import numpy.typing as npt
    from PIL import Image

    from clipcli.tasks.dedupe.alignment import AlignedPair
    from clipcli.tasks.dedupe.pairs import Bits

    _Judgement = tuple["Verdict", float, float]

NAMES: Final = (
    "upright", "turned 90°", "turned 180°", "turned 270°",
    "mirrored", "mirrored, turned 90°", "mirrored, turned 180°", "mirrored, turned 270°",
)  # fmt: skip
TURNS: Final = len(NAMES)


def turn(array: npt.NDArray[Any], number: int) -> npt.NDArray[Any]:
    """Return the picture (height, width, …) in the orientation `NAMES[number]`; quarter turns are clockwise."""
    mirrored = array[:, ::-1] if number >= TURNS // 2 else array
    return np.ascontiguousarray(np.rot90(mirrored, -(number % 4)))


Verdict = Literal["near", "edited", "other"]

_HASH_SOURCE_SIDE: Final = 64
_PEAK: Final = 10.0
"""Largest `Likeness.peak` of *near*, and the largest colour difference of a block of a copy."""
_PEAK_PHOTO: Final = 8.0
"""Largest residual of a block of a copied photo, in multiples of the median block."""
_PEAK_DRAWN: Final = 7.0
"""The same for pages, screens and charts, where an edit may be a single digit."""
_FLOOR: Final = 4.0
"""Largest median residual of a copy, in multiples of the expected one."""
_EDITED_SHARE: Final = 0.35
"""Largest share of blocks that an edit changes; with more, it is another picture."""
_CORRELATES: Final = 0.85
_EDITED_CORRELATES: Final = 0.7
_SLOPES: Final = (0.25, 4.0)
_FLAT_SHIFT: Final = 3.0


@dataclass(frozen=True)
class Signature:
    """The features of a picture for comparison."""

    hashes: Bits
    """(1 or 8, 32) uint8: the hash of the upright picture, and optionally of the seven other orientations."""
    sheet: Sheet


class Likeness(NamedTuple):
    """The comparison of two pictures."""

    verdict: Verdict
    distance: int
    """Hamming distance of their hashes, 0 to 256, at the best orientation."""
    structure: float
    """Correlation of grey values in the shared part, -1 to 1."""
    turn: int
    """The orientation (of eight) in which the second looks like the first; 0 is upright."""
    peak: float = 0.0
    """The largest residual of a block relative to the median block; up to 10 is *near*."""

    @property
    def same(self) -> bool:
        """Return whether they show the same picture."""
        return self.verdict == "near"


def sign(image: Image.Image, *, turns: bool = False, pixels: tuple[int, int] | None = None) -> Signature:
    """Return the signature of a decoded picture of any mode.

    Args:
        image: the picture, or a smaller version.
        turns: also compute the hashes of the seven other orientations.
        pixels: height and width of the full picture if `image` is smaller.
    """
    from PIL import Image as Pillow

    sheet = sheet_of(image, pixels)
    grey = np.asarray(
        Pillow.fromarray(sheet.grey).resize((_HASH_SOURCE_SIDE, _HASH_SOURCE_SIDE), Pillow.Resampling.BOX), np.uint8
    )
    which = range(TURNS) if turns else range(1)
    hashes = np.stack([_hash(turn(grey, number)) for number in which])
    return Signature(hashes, sheet)


def compare(first: Signature, second: Signature) -> Likeness:
    """Compare two signatures, at the best orientation if both have the hashes of all orientations."""
    return compare_all([(first, second)])[0]


def compare_all(pairs: Sequence[tuple[Signature, Signature]]) -> list[Likeness]:
    """Return the result of `compare` for each pair, in less time than one by one."""
    distances = [_distances(*pair) for pair in pairs]
    orientations = [int(np.argmin(bits)) for bits in distances]
    turned_pairs = [i for i, orientation in enumerate(orientations) if orientation]
    sheets = [(pairs[i][0].sheet, turned(pairs[i][1].sheet, orientations[i])) for i in turned_pairs]
    found: dict[int, Likeness] = {}
    for i, (verdict, structure, peak) in zip(turned_pairs, _judge_all(sheets), strict=True):
        found[i] = Likeness(verdict, distances[i][orientations[i]], structure, orientations[i], peak)
    upright = [i for i in range(len(pairs)) if i not in found or not found[i].same]
    sheets = [(pairs[i][0].sheet, pairs[i][1].sheet) for i in upright]
    for i, (verdict, structure, peak) in zip(upright, _judge_all(sheets), strict=True):
        if verdict != "other" or i not in found or found[i].verdict != "edited":
            found[i] = Likeness(verdict, distances[i][0], structure, 0, peak)
    return [found[i] for i in range(len(pairs))]


def _distances(first: Signature, second: Signature) -> list[int]:
    """Return the differing bits of the first picture's hash and the second's, for each orientation that both have."""
    count = min(len(first.hashes), len(second.hashes))
    return [int(np.unpackbits(first.hashes[0] ^ second.hashes[n]).sum()) for n in range(count)]


def turned(sheet: Sheet, number: int) -> Sheet:
    """Return the sheet of a picture in another orientation."""
    pixels = sheet.pixels[::-1] if number % 2 else sheet.pixels
    return sheet_from(turn(sheet.grey, number), turn(sheet.colour, number), pixels)


def _judge_all(pairs: Sequence[tuple[Sheet, Sheet]]) -> list[_Judgement]:
    """Return the verdict, the correlation and the peak of each pair."""
    found = {i: _judge_plain(*pair) for i, pair in enumerate(pairs) if pair[0].plain or pair[1].plain}
    others = [i for i in range(len(pairs)) if i not in found]
    for i, aligned in zip(others, align([pairs[i] for i in others]), strict=True):
        first, second = pairs[i]
        if aligned is None:
            found[i] = "other", float(first.descriptors[0] @ second.descriptors[0]), 0.0
        else:
            found[i] = _judge(first, second, aligned)
    return [found[i] for i in range(len(pairs))]


def _judge(first: Sheet, second: Sheet, pair: AlignedPair) -> _Judgement:
    limit = _PEAK_DRAWN if min(first.drawn, second.drawn) > DRAWN else _PEAK_PHOTO
    residual = difference(first, second, pair, limit)
    peak = residual.peak * _PEAK / limit
    sloped = _SLOPES[0] <= residual.slope <= _SLOPES[1]
    if (
        not sloped
        or residual.correlation < _EDITED_CORRELATES
        or residual.floor > _FLOOR
        or residual.share > _EDITED_SHARE
    ):
        return "other", pair.correlation, peak
    peak = max(peak, colour_difference(first, second, pair))
    if peak > _PEAK or residual.alone or residual.correlation < _CORRELATES or _has_extra_content(first, second, pair):
        return "edited", pair.correlation, peak
    return "near", pair.correlation, peak


def _has_extra_content(first: Sheet, second: Sheet, pair: AlignedPair) -> bool:
    margins = beside(first, pair.regions[0]), beside(second, pair.regions[1])
    return "more" in margins or moved(first, second, pair)


def _judge_plain(first: Sheet, second: Sheet) -> _Judgement:
    """Return the verdict on pictures of one shade: the same if shade and colour are equal within a tolerance."""
    shift = abs(float(first.grey.mean()) - float(second.grey.mean()))
    colours = [2.0 * sheet.colour[..., :2].astype(np.float32).mean((0, 1)) for sheet in (first, second)]
    is_same = (
        first.plain
        and second.plain
        and shift < _FLAT_SHIFT
        and float(np.abs(colours[0] - colours[1]).max()) < 2 * _FLAT_SHIFT
    )
    return "near" if is_same else "other", 1 - shift / 255, 0.0


def _hash(grey: npt.NDArray[np.uint8]) -> Bits:
    """Return the perceptual hash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).

    Each bit says whether one of the lowest frequencies of the cosine transform is above their median.
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
