"""One picture → a signature; two signatures → whether they show the same picture.

Two signs must not contradict each other, and one of them must be strong:

* the perceptual hash of 256 bits (DCT signs, `imagehash.phash`; Zauner, "Implementation and Benchmarking of Perceptual
  Image Hash Functions", 2010) survives overlays and captions, and knows nothing of crops;
* the structure: normalised cross-correlation of grey values at 24 × 24 (Lewis, "Fast Normalized Cross-Correlation",
  1995), at the best of 625 ways to cut up to 12 % off each side of either picture, together with that of the detail
  that is left when a 5 × 5 mean is taken away. Pages of text agree in their grey values and not in their detail.

docs/dedupe.md has the measurements behind every number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from clipcli.tasks.dedupe.turns import TURNS, turn

if TYPE_CHECKING:
    from PIL import Image

    from clipcli.tasks.dedupe.sources import Bits

SIDE: Final = 64
"""A picture is kept as 64 × 64 grey values, whatever its shape."""
_COLOUR_SIDE: Final = 8

HASH_SURE: Final = 56
"""Bits of 256 by which copies may differ when their structure agrees roughly; strangers differ by 70 at least."""
_ROUGH: Final = 0.6
_STRUCTURE: Final = 0.93
_DETAIL: Final = 0.80
_COARSE_GATE: Final = 0.87
"""Below this at 16 × 16, the full search cannot succeed: copies have 0.92 there."""
_FLAT: Final = 2.0
"""Standard deviation of grey values below which a picture has no structure to compare."""
_FLAT_SHIFT: Final = 3.0
_GREY: Final = 8.0
"""Up to this Cb or Cr a place counts as grey: compression tints grey pictures."""
_COLOURFUL: Final = 4.0
_COLOUR: Final = 0.2
"""Below this correlation of their colours, two colourful pictures are not one: the red shirt and the blue one."""

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Signature:
    """What is compared of a picture: 4.3 kB."""

    hashes: Bits
    """(1 or 8, 32) uint8: the hash upright, and of the seven turns where they were asked for."""
    grey: npt.NDArray[np.uint8]
    """(64, 64)."""
    colour: npt.NDArray[np.int8]
    """(8, 8, 2) half the Cb and Cr."""
    coloured: bool
    """Whether any of 64 × 64 places is not grey."""


class Likeness(NamedTuple):
    """How two pictures compare."""

    same: bool
    distance: int
    """Differing bits of 256 between their hashes, at the turn that fits best."""
    structure: float
    """Correlation of grey values at the best cut, -1 to 1."""
    turn: int
    """Which of the eight turns of the second looks like the first; 0 is upright."""


def sign(image: Image.Image, *, turns: bool = False) -> Signature:
    """The signature of a decoded picture of any mode; transparent parts count as white."""
    from PIL import Image as Pillow

    flat = opaque(image)
    small = flat.resize((SIDE, SIDE), Pillow.Resampling.BOX, reducing_gap=3.0)
    grey = np.asarray(small.convert("L"), np.uint8)
    ycc = np.asarray(small.convert("YCbCr"), np.float32)[..., 1:] - 128
    block = SIDE // _COLOUR_SIDE
    colour = ycc.reshape(_COLOUR_SIDE, block, _COLOUR_SIDE, block, 2).mean((1, 3))
    which = range(TURNS) if turns else range(1)
    hashes = np.stack([_hash(turn(grey, number)) for number in which])
    return Signature(hashes, grey, np.round(colour / 2).astype(np.int8), bool(np.abs(ycc).max() > _GREY))


def compare(first: Signature, second: Signature) -> Likeness:
    """Whether two signatures are of one picture; with turns where both have them. Symmetric in `same`."""
    count = min(len(first.hashes), len(second.hashes))
    best = Likeness(same=False, distance=257, structure=-1.0, turn=0)
    for number in range(count):
        distance = int(np.unpackbits(first.hashes[0] ^ second.hashes[number]).sum())
        found = _compare_upright(first, turn(second.grey, number), turn(second.colour, number), distance)
        shown = Likeness(found[0], distance, found[1], number)
        if (shown.same, shown.structure) > (best.same, best.structure):
            best = shown
        if shown.same and number == 0:
            break
    return best


def _compare_upright(
    first: Signature, grey: npt.NDArray[np.uint8], colour: npt.NDArray[np.int8], distance: int
) -> tuple[bool, float]:
    one, two = first.grey.astype(np.float32), grey.astype(np.float32)
    flat = (one.std() < _FLAT, two.std() < _FLAT)
    if any(flat):
        shift = float(np.abs(one - two).max())
        return all(flat) and shift < _FLAT_SHIFT and _colours_near(first.colour, colour), 1 - shift / 255
    plain = correlation(one, two)
    if _colours_clash(first.colour, colour):
        return False, plain
    if distance <= HASH_SURE and plain >= _ROUGH:
        return True, plain
    if max(_best_cut(one, two, 16)[0], _best_cut(two, one, 16)[0]) < _COARSE_GATE:
        return False, plain
    structure, whole, cut = max((_best_cut(a, b, 24) for a, b in ((one, two), (two, one))), key=lambda found: found[0])
    detail = correlation(_detail(whole), _detail(cut))
    return structure >= _STRUCTURE and detail >= _DETAIL, max(structure, plain)


def correlation(one: Grey, two: Grey) -> float:
    """Normalised cross-correlation of two arrays of one shape, -1 to 1; 0 where one of them is constant."""
    first, second = one - one.mean(), two - two.mean()
    scale = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / scale if scale else 0.0


@cache
def _cuts(side: int) -> tuple[Grey, Grey, int]:
    """Matrices that shrink 64 values to `side`: of the whole, and of every cut, stacked; and how many."""
    steps = (0.0, 0.03, 0.06, 0.09, 0.12) if side > 16 else (0.0, 0.04, 0.08, 0.12)  # noqa: PLR2004 - the coarse look
    cuts = np.concatenate([_shrink(low, 1 - high, side) for low in steps for high in steps])
    return _shrink(0.0, 1.0, side), cuts, len(steps) ** 2


def _shrink(low: float, high: float, side: int) -> Grey:
    """(side, 64): the mean over `side` equal parts of the stretch from `low` to `high`."""
    edges = np.linspace(low * SIDE, high * SIDE, side + 1)
    cells = np.arange(SIDE)
    share = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    weights = np.clip(share, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _best_cut(whole: Grey, other: Grey, side: int) -> tuple[float, Grey, Grey]:
    """The cut of `other` that correlates best with the whole of the first: the value and both at (side, side)."""
    full, cuts, count = _cuts(side)
    target = full @ whole @ full.T
    centred = target - target.mean()
    centred /= np.sqrt((centred * centred).sum()) + 1e-6
    tried = (cuts @ other @ cuts.T).reshape(count, side, count, side).swapaxes(1, 2).reshape(count * count, -1)
    moved = tried - tried.mean(axis=1, keepdims=True)
    values = moved @ centred.ravel() / (np.sqrt((moved * moved).sum(axis=1)) + 1e-6)
    place = int(values.argmax())
    return float(values[place]), target, tried[place].reshape(side, side)


def _detail(grey: Grey) -> Grey:
    """What is left when the mean of 5 × 5 neighbours is taken away."""
    padded = np.pad(grey, 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    return np.asarray(grey - windows.mean(axis=(2, 3)), np.float32)


def _colours_clash(one: npt.NDArray[np.int8], two: npt.NDArray[np.int8]) -> bool:
    first, second = (2.0 * colour - (2.0 * colour).mean((0, 1)) for colour in (one, two))
    if min(np.sqrt((first**2).mean()), np.sqrt((second**2).mean())) < _COLOURFUL:
        return False
    return correlation(first.astype(np.float32), second.astype(np.float32)) < _COLOUR


def _colours_near(one: npt.NDArray[np.int8], two: npt.NDArray[np.int8]) -> bool:
    return bool(np.abs(2.0 * one - 2.0 * two).max() < 2 * _FLAT_SHIFT)


def _hash(grey: npt.NDArray[np.uint8]) -> Bits:
    import imagehash
    from PIL import Image

    return np.packbits(imagehash.phash(Image.fromarray(grey), hash_size=16).hash.ravel())


def opaque(image: Image.Image) -> Image.Image:
    """Eight-bit RGB on white; wider numbers are scaled to what they span, as a viewer would show them."""
    from PIL import Image as Pillow

    if image.mode in {"I", "F", "I;16", "I;16B", "I;16L"}:
        values = np.asarray(image, np.float32)
        low, high = float(values.min()), float(values.max())
        image = Pillow.fromarray(np.uint8((values - low) * (255 / (high - low) if high > low else 0)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Pillow.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Pillow.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
