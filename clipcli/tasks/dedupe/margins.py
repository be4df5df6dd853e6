"""Classify the area outside the part that two pictures share: a plain border, a crop, or other content."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from clipcli.tasks.dedupe.alignment import DRAWN
from clipcli.tasks.dedupe.sheets import area

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipcli.tasks.dedupe.alignment import AlignedPair
    from clipcli.tasks.dedupe.sheets import Region, Sheet

    _Greys = npt.NDArray[np.uint8]

Beside = Literal["nothing", "crop", "more"]
"""`nothing`: no margin or a plain one; `crop`: a strip of the picture; `more`: a caption, another picture, a page."""
_THIN: Final = 0.012
_CROP: Final = 0.14
"""Largest share of a side that a crop may cut off."""
_CELLS: Final = 8
_PLAIN: Final = 28.0
"""Largest range of grey values in a cell of a plain border, which has ringing of compression beside an edge."""
_GROUND: Final = 10.0
"""Largest range in a cell of ground on which something is written."""
_MOSTLY: Final = 0.4
"""Least share of plain cells in a margin that is ground with something on it."""
_PARTLY: Final = 0.2
"""The same for an added bar, which may have large words."""
_EDGE: Final = 5
_BEGINS: Final = 0.9
"""Least share of ground in the line beside the shared region if a bar begins there; at a crop, the picture goes on."""
_GOES_ON: Final = 0.6
"""Least share of ground in the line inside the shared region if the ground of the margin continues there."""
_EVEN: Final = 2.0
"""Largest range in a cell of ground without noise, as no camera records it."""
_INK_CELL: Final = 4
_FAINT: Final = 20.0
"""Least range in a cell of `_INK_CELL` pixels through which a drawn shape continues."""
_TOUCHES: Final = 2
"""Lines beside the region that a shape must touch if it is cut in two."""
_SPECK: Final = 2
"""Least number of cells of something written."""
_MOVED: Final = 0.1
_LARGE: Final = 0.3
_TINY: Final = 0.05
"""Share of a picture below which the rest is more than a border."""
_FILLS: Final = 0.9


def beside(sheet: Sheet, region: Region) -> Beside:
    """Return the worst kind of the four margins of a region."""
    top, bottom, left, right = region
    grey = sheet.grey
    rows, columns = grey.shape
    low, high = round(left * columns), round(right * columns)
    upper, lower = round(top * rows), round(bottom * rows)
    across = grey[upper:lower].T
    margins = (
        (top, grey[:upper][::-1], grey[upper:]), (1 - bottom, grey[lower:], grey[:lower][::-1]),
        (left, across[:low][::-1], across[low:]), (1 - right, across[high:], across[:high][::-1]),
    )  # fmt: skip
    kinds = [_margin(share, part, inside, drawn=sheet.drawn > DRAWN) for share, part, inside in margins]
    return max(kinds, key=("nothing", "crop", "more").index)


def moved(one: Sheet, other: Sheet, pair: AlignedPair) -> bool:
    """Return whether two pictures differ by where they show the shared part on a plain ground.

    They do if the shared part is nearly nothing of one of them: a small mark on a desktop is not the icon of its shape.
    They do too if both have plain ground around the shared part and show it at different positions; pictures that are
    nearly all ground count as moved even if one could be a crop of the other.
    """
    first, second = pair.regions
    if min(area(first), area(second)) < _TINY:
        return True
    if max(abs(a - b) for a, b in zip(first, second, strict=True)) <= _MOVED:
        return False
    if max(area(sheet.regions[-1]) for sheet in (one, other)) < _TINY:
        return True
    if any(_fills(region) for region in pair.regions):
        return False
    small = min(area(region) for region in pair.regions) < _LARGE
    return small or not (_holds(first, second) or _holds(second, first))


def _fills(region: Region) -> bool:
    top, bottom, left, right = region
    return bottom - top >= _FILLS and right - left >= _FILLS


def _holds(outer: Region, inner: Region) -> bool:
    """Return whether the first picture contains the second one, if they are aligned by their shared regions."""
    for low, high, start, stop in ((*outer[:2], *inner[:2]), (*outer[2:], *inner[2:])):
        scale = (high - low) / max(stop - start, 1e-6)
        if low - scale * start < -0.02 or high + scale * (1 - stop) > 1.02:  # noqa: PLR2004 - a little
            return False
    return True


def _margin(share: float, part: _Greys, inside: _Greys, *, drawn: bool) -> Beside:
    """Return the kind of one margin.

    An added bar begins where the ground of the region ends. On ground that continues, something was written if it does
    not touch the region; a cropped shape does.

    Args:
        share: Share of the side that the margin takes.
        part: (lines, length) of the margin; its first line is beside the region.
        inside: (lines, length) of the region; its first line is beside the margin.
        drawn: Whether the picture is a page, a screen or a chart.
    """
    if share < _THIN or not part.size:
        return "nothing"
    cell = max(1, min(_CELLS, part.shape[0] // 3))
    if min(part.shape) < cell:
        return "crop"
    ground = _ground(part, cell)
    added = _most_ground(part, ground) > _BEGINS and _most_ground(inside, ground) < _GOES_ON
    blunt = cell // 2 if part.shape[0] > 2 * cell else 0  # ringing of the edge itself
    if added:  # some lines of the picture may be left beside the edge
        blunt = max(blunt, min(math.ceil(_THIN * len(part) / share), len(part) // 2))
    means, ranges = _cells(part[blunt:], cell)
    plain = (ranges <= _PLAIN) & (np.abs(means - ground) <= _PLAIN)
    if plain.all() and np.ptp(means) <= _PLAIN:
        return "nothing"
    if share > _CROP:
        return "more"
    even = np.where(np.abs(means - ground) <= _GROUND, ranges, np.inf)
    if added:
        return "more" if (even <= _GROUND).mean() >= _PARTLY else "crop"
    drawn = drawn or _is_one_shade(inside)  # the region ends in a bar or a border itself
    written = _is_written_on(part, ground, even, drawn=drawn) or _ends_in_a_bar(part, inside)
    return "more" if written else "crop"


def _is_one_shade(lines: _Greys) -> bool:
    """Return whether one of the lines beside an edge has a single shade, as no photo has."""
    return len(lines) > _EDGE and bool((np.ptp(lines[1:_EDGE], axis=1) <= _GROUND).any())


def _is_written_on(part: _Greys, ground: float, even: npt.NDArray[np.float32], *, drawn: bool) -> bool:
    """Return whether a margin is ground with something on it; `even` is the range of each cell of ground, else inf."""
    if (even <= _GROUND).mean() < _MOSTLY or _most_ground(part, ground) <= _BEGINS:
        return False
    return (drawn or (even <= _EVEN).mean() >= _MOSTLY) and _stands_alone(part, ground)


def _ends_in_a_bar(part: _Greys, inside: _Greys) -> bool:
    """Return whether the margin is a strip of the picture followed by a bar with something written on it."""
    outermost = _cells(part[-_INK_CELL:], _INK_CELL)[0] if min(part.shape) >= _INK_CELL else np.zeros(0, np.float32)
    if not outermost.size:
        return False
    ground = float(np.median(outermost))
    even = (np.abs(part.astype(np.float32) - ground) <= _GROUND).mean(axis=1)
    begins = int(np.argmax(even > _BEGINS))
    if even[begins] <= _BEGINS or len(part) - begins < 2 * _INK_CELL:
        return False
    before = np.concatenate([inside[:_EDGE][::-1], part[:begins]])
    before = before[: max(1, len(before) - _TOUCHES)][::-1]  # without the edge of the bar itself
    return _most_ground(before, ground) < _GOES_ON and _stands_alone(part[begins:], ground)


def _ground(part: _Greys, cell: int) -> float:
    """Return the median shade of the plain cells of a margin; of all cells if none is plain."""
    means, ranges = _cells(part, cell)
    plain = means[ranges <= _GROUND]
    return float(np.median(plain if plain.size else means))


def _most_ground(lines: _Greys, ground: float) -> float:
    """Return the largest share of ground in any of the first lines beside an edge."""
    edge = lines[1:_EDGE] if len(lines) > _EDGE else lines
    return float((np.abs(edge.astype(np.float32) - ground) <= _PLAIN).mean(axis=1).max())


def _stands_alone(part: _Greys, ground: float) -> bool:
    """Return whether a margin has something that does not touch the region, so that it was written there."""
    if min(part.shape) < _INK_CELL:
        return False
    means, ranges = _cells(part, _INK_CELL)
    ink = ranges > _PLAIN
    grows = (ranges > _FAINT) | (np.abs(means - ground) > _PLAIN)
    reached = np.zeros_like(ink)
    first = np.abs(part[:_TOUCHES].astype(np.float32) - ground).max(axis=0)[: ink.shape[1] * _INK_CELL]
    reached[0] = grows[0] & (first.reshape(-1, _INK_CELL).max(axis=1) > _FAINT)
    while True:
        padded = np.pad(reached, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        grown = (rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]) & grows
        if grown.sum() == reached.sum():
            return int((ink & ~reached).sum()) >= _SPECK
        reached = grown


def _cells(part: _Greys, cell: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the means and the ranges of grey values in squares of `cell` by `cell`."""
    lines, length = (size // cell for size in part.shape)
    cells = part[: lines * cell, : length * cell].reshape(lines, cell, length, cell).astype(np.float32)
    return cells.mean(axis=(1, 3)), np.ptp(cells, axis=(1, 3))
