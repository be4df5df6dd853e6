"""What lies outside the part that two pictures share: a plain border, what was cropped, or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from clipcli.tasks.dedupe.sheets import area

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.tasks.dedupe.alignment import AlignedPair
    from clipcli.tasks.dedupe.sheets import Sheet, Stretch

Beside = Literal["nothing", "crop", "more"]
"""`nothing`: no margin, or a plain one; `crop`: a little of the picture; `more`: a caption, another picture, a page."""
_THIN: Final = 0.012
_CROP: Final = 0.14
"""Largest share of a side that a crop may take."""
_CELLS: Final = 8
_PLAIN: Final = 28.0
"""Range of grey values in a cell up to which a border is plain: compression rings beside an edge."""
_GROUND: Final = 10.0
"""Range in a cell of what something was written on."""
_DRAWN: Final = 0.4
"""Share of plain cells from which a margin is ground with something on it."""
_EDGE: Final = 5
_BEGINS: Final = 0.9
"""Share of a line beside the shared stretch that is ground where something else begins: a crop goes on there."""
_MOVED: Final = 0.1
_LARGE: Final = 0.3
_FILLS: Final = 0.9


def beside(sheet: Sheet, stretch: Stretch) -> Beside:
    """Return the worst of the four margins of a stretch."""
    top, bottom, left, right = stretch
    grey = sheet.grey
    rows, columns = grey.shape
    low, high = round(left * columns), round(right * columns)
    upper, lower = round(top * rows), round(bottom * rows)
    margins = (
        (top, grey[:upper][::-1]), (1 - bottom, grey[lower:]),
        (left, grey[upper:lower, :low].T[::-1]), (1 - right, grey[upper:lower, high:].T),
    )  # fmt: skip
    found = [_margin(share, part) for share, part in margins]
    return max(found, key=("nothing", "crop", "more").index)


def moved(pair: AlignedPair) -> bool:
    """Return whether both pictures have plain ground around what they share, and it stands in another place of it."""
    mine, its = pair.stretches
    if any(_fills(stretch) for stretch in pair.stretches):
        return False
    if max(abs(a - b) for a, b in zip(mine, its, strict=True)) <= _MOVED:
        return False
    small = min(area(stretch) for stretch in pair.stretches) < _LARGE
    return small or not (_holds(mine, its) or _holds(its, mine))


def _fills(stretch: Stretch) -> bool:
    top, bottom, left, right = stretch
    return bottom - top >= _FILLS and right - left >= _FILLS


def _holds(outer: Stretch, inner: Stretch) -> bool:
    """Return whether the frame of the first, laid so that its stretch is the second's, holds the second's frame."""
    for low, high, start, stop in ((*outer[:2], *inner[:2]), (*outer[2:], *inner[2:])):
        scale = (high - low) / max(stop - start, 1e-6)
        if low - scale * start < -0.02 or high + scale * (1 - stop) > 1.02:  # noqa: PLR2004 - a little
            return False
    return True


def _margin(share: float, part: npt.NDArray[np.uint8]) -> Beside:
    """One margin, (lines, length), its first line beside the stretch."""
    if share < _THIN or not part.size:
        return "nothing"
    cell = max(1, min(_CELLS, part.shape[0] // 3))
    edge = part[1:_EDGE] if part.shape[0] > _EDGE else part
    part = part[cell // 2 if part.shape[0] > 2 * cell else 0 :]  # ringing of the edge itself
    lines, length = (size // cell for size in part.shape)
    if not lines or not length:
        return "nothing" if share < 2 * _THIN else "crop"
    cells = part[: lines * cell, : length * cell].reshape(lines, cell, length, cell)
    ranges = cells.max(axis=(1, 3)).astype(np.float32) - cells.min(axis=(1, 3))
    means = cells.mean(axis=(1, 3))
    ground = float(np.median(means))
    plain = (ranges <= _PLAIN) & (np.abs(means - ground) <= _PLAIN)
    if plain.all() and np.ptp(means) <= _PLAIN:
        return "nothing"
    if share > _CROP:
        return "more"
    plain = (ranges <= _GROUND) & (np.abs(means - ground) <= _GROUND)
    begins = float((np.abs(edge.astype(np.float32) - ground) <= _PLAIN).mean(axis=1).max())
    return "more" if plain.mean() >= _DRAWN and begins > _BEGINS else "crop"
