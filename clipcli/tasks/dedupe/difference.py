"""Measure whether two aligned pictures differ all over, as copies do, or in one area, as edits do.

One picture is predicted from the other: its tones (a gain, an offset and a curve) and its sharpness (the details that
two blurs remove), by a robust fit that ignores areas that differ. The residual of a copy is noise, which is everywhere
and grows with the contrast around it. A number, a name or a signature that was added stays in the residual. So the
residual of each block is divided by the one that is expected there, and the largest is compared with the median.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from clipcli.tasks.dedupe.motion import blurred, correlation, move
from clipcli.tasks.dedupe.sheets import area, quantile

if TYPE_CHECKING:
    from clipcli.tasks.dedupe.alignment import AlignedPair
    from clipcli.tasks.dedupe.motion import Mask
    from clipcli.tasks.dedupe.sheets import Grey, Sheet

CELL: Final = 8
"""Side of a cell in pixels. Blocks are two cells wide and overlap by one, so that no edit is cut in two."""
_NOISE: Final = 3.0
"""Expected noise in grey values."""
_CLIPPED: Final = 16.0
"""Additional expected noise in grey values where a colour is clipped."""
_OF_CONTRAST: Final = 0.03
"""Share of a block's variance in the residual of copies, from sharpening, ringing and a shift of a tenth of a pixel."""
_SHADE: Final = 0.1
"""Weight of a difference of the means of a block, since clipped tones shift it."""
_CONTENT: Final = 30.0
"""Least variance of a block with any content."""
_MOST: Final = 0.75
_WHOLE: Final = 0.99
_RIM: Final = 3
_UNTOUCHED: Final = 0.001
"""Largest residual of unchanged blocks, in shares of the largest block; any compression causes more."""
_GAINS: Final = (0.6, 1.6)
"""Range of the gain of one block relative to the whole picture."""
_TONES: Final = 5
_SAMPLES: Final = 96
_COLOUR_NOISE: Final = 7.0
_COLOUR_OF_CONTRAST: Final = 0.2
_COLOUR_FLOOR: Final = 2.0
_COLOUR_CLIPPED: Final = 20.0
"""Colour values that are noise where tones of one picture were cut off and those of the other were not."""
_COLOUR_SIDE: Final = 32
_COLOUR_CELL: Final = 2
_GREY: Final = 4.0
"""Least range of the colours of a picture that is not grey."""
_SATURATION: Final = (0.25, 2.5)
_SHIFT: Final = 14.0
_TINT: Final = 0.12
"""Largest influence of brightness on colour that a white balance has."""


class Difference(NamedTuple):
    """The residual of one picture after its prediction from the other is subtracted."""

    peak: float
    """Residual of the largest block relative to the median; about 1 to 8 for copies."""
    floor: float
    """Residual of the median block relative to the expected one; up to about 1 for copies."""
    share: float
    """Share of the blocks above the limit."""
    correlation: float
    """Correlation of the picture with its prediction."""
    slope: float
    """Contrast of the picture relative to the other; negative for a negative."""
    alone: bool = False
    """Whether everything else is equal to the last grey value, so that even a small difference is an edit."""


def difference(one: Sheet, other: Sheet, pair: AlignedPair, limit: float) -> Difference:
    """Predict each picture from the other, and return the better result.

    Args:
        one: The first picture.
        other: The second picture.
        pair: Their alignment.
        limit: Limit of a block for `Difference.share`.
    """
    blocks = len(pair.first) // CELL - 1
    clipped = [sheet.clipped(frame, blocks) for sheet, frame in zip((one, other), pair.frames, strict=True)]
    noise = np.asarray(_NOISE**2 + _CLIPPED**2 * np.maximum(*clipped), np.float32)
    rim = 0 if all(area(frame) > _WHOLE for frame in pair.frames) else _RIM
    first = _residual(pair.first, pair.second, pair.covered, noise, limit=limit, rim=rim)
    if first.peak <= limit and first.floor <= 1:
        return first
    second = _residual(pair.second, pair.first, pair.covered, noise, limit=limit, rim=rim)
    return min(first, second, key=lambda result: (result.peak * max(1.0, result.floor), -result.correlation))


def colour_difference(one: Sheet, other: Sheet, pair: AlignedPair) -> float:
    """Return the largest block of colour that saturation and white balance do not explain; 0 if one is grey."""
    first, second = one.colours(pair.frames[0], _COLOUR_SIDE), other.colours(pair.frames[1], _COLOUR_SIDE)
    second = np.stack([move(part, pair.motion)[0] for part in second])
    strengths = [float(np.sqrt(((c - c.mean((1, 2), keepdims=True)) ** 2).mean())) for c in (first, second)]
    if min(strengths) < _GREY / 2 and min(float(np.abs(c).max()) for c in (first, second)) < 2 * _GREY:
        return 0.0
    light = _cells(pair.first, len(pair.first) // _COLOUR_SIDE)[:_COLOUR_SIDE, :_COLOUR_SIDE]
    light = np.asarray(light / max(1, len(pair.first) // _COLOUR_SIDE) ** 2, np.float32)
    if light.shape != first.shape[1:]:
        light = np.zeros_like(first[0])
    clipped = [sheet.clipped(frame, _COLOUR_SIDE) for sheet, frame in zip((one, other), pair.frames, strict=True)]
    noise = (_COLOUR_CLIPPED * (clipped[0] - move(clipped[1], pair.motion)[0])) ** 2
    return min(_colour_rest(first, second, light, noise), _colour_rest(second, first, light, noise))


def _residual(target: Grey, source: Grey, covered: Mask, noise: Grey, *, limit: float, rim: int) -> Difference:
    predicted, slope = _predict(target, source, covered)
    shown = covered.astype(np.float32)
    first, second = target * shown, predicted * shown
    pixels, *sums = _blocks(np.stack([shown, first, second, first * first, second * second, first * second]))
    full = pixels > 2 * CELL * CELL
    mean_one, mean_two, square_one, square_two, product = sums / np.maximum(pixels, 1)
    one = np.maximum(square_one - mean_one**2, 0)
    two = np.maximum(square_two - mean_two**2, 0)
    both = product - mean_one * mean_two
    gain = np.clip(both / np.maximum(two, 1e-3), *_GAINS)
    rest = np.maximum(one - 2 * gain * both + gain**2 * two, 0) + _SHADE * (mean_one - mean_two) ** 2
    contrast = np.maximum(one, two)
    every = rest / (noise + _OF_CONTRAST * np.maximum(contrast, _mean_around(contrast) / 2))
    values = every[full]
    if not values.size:
        return Difference(np.inf, np.inf, 1.0, 0.0, slope)
    floor = quantile(values)
    relative = values / max(1.0, floor)
    alone = _stands_alone(every, full, contrast, rim)
    return Difference(float(relative.max()), floor, float((relative > limit).mean()),
                      correlation(target, predicted, covered), slope, alone)  # fmt: skip


def _mean_around(values: Grey) -> Grey:
    """Return the mean of 5 × 5 neighbours."""
    padded = np.pad(values, 2, mode="edge")
    count = len(values)
    rows = np.sum([padded[i : i + count] for i in range(5)], axis=0)
    return np.asarray(np.sum([rows[:, i : i + count] for i in range(5)], axis=0) / 25, np.float32)


def _stands_alone(values: Grey, full: Mask, contrast: Grey, rim: int) -> bool:
    """Return whether a few blocks differ and the others are equal; the outermost `rim` blocks are ignored."""
    inner = (slice(rim, len(values) - rim),) * 2
    values, full, contrast = values[inner], full[inner], contrast[inner]
    drawn = values[full & (contrast > _CONTENT)]
    if not drawn.size:
        return False
    return float(values[full].max()) > max(1.0, quantile(drawn, _MOST) / _UNTOUCHED)


def _predict(target: Grey, source: Grey, covered: Mask) -> tuple[Grey, float]:
    """Return `source` with the tones and the sharpness of `target`, and the gain at its median tone."""
    soft = blurred(source)
    softer = blurred(blurred(soft))
    parts = (source / 64, (source / 64) ** 2 / 2, (source - soft) / 16, (soft - softer) / 16)
    step = max(1, len(source) // _SAMPLES)
    sampled = (slice(step // 2, None, step),) * 2
    values, inside = target[sampled].ravel(), covered[sampled].ravel()
    usable = inside & (values > 3) & (values < 252)  # noqa: PLR2004 - clipped tones tell nothing about the gain
    usable = usable if usable.sum() > inside.sum() / 10 else inside
    table = np.stack([np.ones(usable.sum(), np.float32), *(part[sampled].ravel()[usable] for part in parts)])
    values = values[usable]
    weights = np.float32(1)
    found = np.zeros(_TONES)
    for _ in range(3):
        weighted = table * weights
        matrix = weighted @ table.T
        matrix[np.arange(_TONES), np.arange(_TONES)] += 2e-7 * np.trace(matrix) + 1e-3
        found = np.linalg.solve(matrix, weighted @ values)
        left = np.abs(values - found @ table)
        weights = 1 / (1 + (left / (3 + 2.5 * quantile(left))) ** 2) if left.size else weights
    predicted = sum((weight * part for weight, part in zip(found[1:].tolist(), parts, strict=True)), float(found[0]))
    middle = quantile(source[sampled].ravel()[inside]) if inside.any() else 0.0
    return np.clip(predicted, 0, 255), float(found[1] / 64 + found[2] * middle / 64**2)


def _colour_rest(target: Grey, source: Grey, light: Grey, noise: Grey) -> float:
    """Return the largest block of `target` that `source` with another saturation and white balance does not explain."""
    tint = ((light - light.mean()) / 64).ravel()
    first, second = (np.asarray(colours, np.float64).reshape(2, -1) for colours in (target, source))
    weights, left = np.ones(tint.size), first
    for _ in range(3):
        total = weights.sum()
        centred = [colours - (colours @ weights / total)[:, None] for colours in (first, second)]
        weighted = weights * centred[1]
        gain = float(np.vdot(weighted, centred[0]) / (np.vdot(weighted, centred[1]) + 1e-3))
        left = first - min(max(gain, _SATURATION[0]), _SATURATION[1]) * second
        left -= np.clip(left @ weights / total, -_SHIFT, _SHIFT)[:, None]
        bend = left @ (weights * tint) / (weights @ tint**2 + 1e-3)
        left -= np.clip(bend, -64 * _TINT, 64 * _TINT)[:, None] * tint
        size = np.sqrt((left**2).sum(axis=0))
        weights = 1 / (1 + (size / (_COLOUR_NOISE + 2.5 * quantile(size))) ** 2)
    colours = np.concatenate([target, source])
    planes = np.concatenate([left.reshape(target.shape), colours**2, colours, noise[None]])
    pooled = _pooled(_cells(np.asarray(planes, np.float32), _COLOUR_CELL)) / 16
    spread = (pooled[2:6] - pooled[6:10] ** 2).sum(axis=0) / 2
    expected = _COLOUR_NOISE**2 + _COLOUR_OF_CONTRAST * np.maximum(spread, 0)
    rest = (pooled[:2] ** 2).sum(axis=0)
    floor = min(max(quantile(rest / expected), 1), _COLOUR_FLOOR)
    return float((rest / (expected + pooled[10])).max()) / floor


def _cells(values: Grey, cell: int) -> Grey:
    """Return sums over squares of `cell` by `cell` in the last two axes."""
    count = values.shape[-1] // cell
    whole = values[..., : count * cell, : count * cell]
    rows = whole.reshape(*whole.shape[:-2], count, cell, count * cell).sum(axis=-2)
    return np.asarray(rows.reshape(*rows.shape[:-1], count, cell).sum(axis=-1), np.float32)


def _pooled(cells: Grey) -> Grey:
    """Return sums over 2 × 2 neighbours in the last two axes."""
    rows = cells[..., :-1, :] + cells[..., 1:, :]
    return np.asarray(rows[..., :-1] + rows[..., 1:], np.float32)


def _blocks(values: Grey) -> Grey:
    return _pooled(_cells(values, CELL))
