"""Compute sketches for the search of candidates: grey values at 32 × 32, of the whole picture and without its borders.

No model is used. Each window of a sketch (the whole, and with a tenth of some sides cut off) is described by the lowest
8 × 8 coefficients of its cosine transform, weighted so that fine structure counts as much as coarse structure. The
description of a whole picture is then near that of some window of every copy: scaled, recompressed, cropped, bordered
or rotated slightly.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from clipcli.tasks.dedupe.sheets import WHOLE, Grey, Region, content_regions, span

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE: Final = 32
_CUT: Final = 0.1
_HALF: Final = _CUT / 2
WINDOWS: Final[tuple[Region, ...]] = (
    WHOLE,
    (_HALF, 1 - _HALF, _HALF, 1 - _HALF),
    (_CUT, 1 - _CUT, _CUT, 1 - _CUT),
    *((top, top + 1 - _CUT, left, left + 1 - _CUT) for top in (0, _CUT) for left in (0, _CUT)),
    *((top, top + 1 - _CUT, 0.0, 1.0) for top in (0, _CUT)),
    *((0.0, 1.0, left, left + 1 - _CUT) for left in (0, _CUT)),
)
"""Windows of a region; any crop of up to 14 % is near one of them."""
_COEFFICIENTS: Final = 8
DIM: Final = _COEFFICIENTS**2 + 2
"""Length of a description: 63 coefficients, and 3 numbers for flat pictures."""
_FLAT: Final = 1.5
"""Standard deviation in grey values below which a picture counts as flat."""


def sketch_of(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the sketch of a picture, 1 to 3 kB.

    Args:
        grey: (height, width) grey values, any size.

    Returns:
        (regions, 32, 32): the whole picture, and the picture without plain borders, each resized to a square.
    """
    rows, columns = grey.shape
    cuts = [
        span(top, bottom, rows, SIDE) @ grey @ span(left, right, columns, SIDE).T
        for top, bottom, left, right in content_regions(grey)
    ]
    return np.clip(np.round(np.stack(cuts)), 0, 255).astype(np.uint8)


def describe(grey: npt.NDArray[np.uint8], windows: Sequence[Region] = WINDOWS) -> Grey:
    """Return the descriptions of windows of regions.

    Args:
        grey: (n, 32, 32) regions of sketches.
        windows: the windows to describe.

    Returns:
        (n, windows, 66) float32, unit length: the dot product of equal pictures is 1.
    """
    values = grey.astype(np.float32)
    descriptions = np.empty((len(values), len(windows), DIM), np.float32)
    for index, window in enumerate(windows):
        rows, columns = _transform(window[0], window[1]), _transform(window[2], window[3])
        descriptions[:, index, :-3] = (rows @ values @ columns.T * _evened()).reshape(len(values), -1)[:, 1:]
    lengths = np.linalg.norm(descriptions[..., :-3], axis=2, keepdims=True)
    descriptions[..., :-3] /= np.maximum(lengths, 1e-6)
    square = np.einsum("nij,nij->n", values, values) / SIDE**2
    flat = square - values.mean(axis=(1, 2)) ** 2 < _FLAT**2
    shade = values[flat].mean(axis=(1, 2)) * (np.pi / 255)
    descriptions[..., -3:] = 0
    descriptions[flat] = 0
    descriptions[flat, :, -2], descriptions[flat, :, -1] = np.cos(shade)[:, None], np.sin(shade)[:, None]
    return descriptions


@cache
def _transform(low: float, high: float) -> Grey:
    """Return (8, 32): the cosine transform of a part of 32 values, lowest coefficients only."""
    positions = (np.arange(SIDE) + 0.5) / SIDE
    waves = np.cos(np.pi * np.arange(_COEFFICIENTS)[:, None] * positions)
    return np.asarray(waves @ span(low, high, SIDE, SIDE), np.float32)


@cache
def _evened() -> Grey:
    """Return (8, 8) the weight of each coefficient: in photos, power falls with the square of the frequency."""
    along = np.arange(_COEFFICIENTS, dtype=np.float32)
    return np.hypot(along[:, None], along[None, :])
