"""Draw curves between 0 and 1 as SVG, without scripts, coloured by the page's style sheet."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.core.console import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH, _HEIGHT = 300, 300
_LEFT, _TOP, _SIDE = 44, 12, 240
"""Position and size of the square from (0, 0) to (1, 1), in units of the drawing."""
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LEGEND_LINE = 16


@dataclass(frozen=True)
class ChartPoint:
    """A point with a tooltip."""

    x: float
    y: float
    text: str
    radius: float = 3.0
    """Radius in units of the drawing, which is 300 wide."""


@dataclass(frozen=True)
class Curve:
    """A line through points from 0 to 1, with marks on it."""

    name: str
    """The name in the legend; empty leaves it out."""
    points: Sequence[tuple[float, float]]
    marks: tuple[ChartPoint, ...] = ()
    faint: bool = False
    """Draw it faintly, for comparison."""


@dataclass(frozen=True)
class Chart:
    """Curves in one square, both axes from 0 to 1."""

    title: str
    """The text for screen readers."""
    x: str
    y: str
    curves: tuple[Curve, ...]
    diagonal: bool = False
    """Draw the line from (0, 0) to (1, 1), on which a perfect curve lies."""


def draw(chart: Chart) -> str:
    """Return the `svg` element of a chart."""
    named = [curve for curve in chart.curves if curve.name]
    height = _HEIGHT + _LEGEND_LINE * len(named)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{_text(chart.title)}">',
        *_axes(chart),
        *(part for curve in chart.curves for part in _curve(curve)),
        *(part for line, curve in enumerate(named) for part in _legend(curve, line)),
        "</svg>",
    ]
    return "".join(parts)


def _axes(chart: Chart) -> Iterator[str]:
    right, bottom = _LEFT + _SIDE, _TOP + _SIDE
    for tick in _TICKS:
        x, y = _at(tick, tick)
        yield f'<path class="grid" d="M{x} {_TOP}V{bottom}M{_LEFT} {y}H{right}"/>'
        yield f'<text x="{x}" y="{bottom + 15}" text-anchor="middle">{tick:g}</text>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:g}" text-anchor="end">{tick:g}</text>'
    if chart.diagonal:
        yield f'<path class="diagonal" d="M{_LEFT} {bottom}L{right} {_TOP}"/>'
    middle = _TOP + _SIDE / 2
    yield f'<text x="{_LEFT + _SIDE / 2:g}" y="{bottom + 32}" text-anchor="middle">{_text(chart.x)}</text>'
    turned = f'text-anchor="middle" transform="rotate(-90 10 {middle:g})"'
    yield f'<text x="10" y="{middle:g}" {turned}>{_text(chart.y)}</text>'


def _curve(curve: Curve) -> Iterator[str]:
    kind = " faint" if curve.faint else ""
    if curve.points:
        steps = "L".join("{} {}".format(*_at(x, y)) for x, y in curve.points)
        yield f'<path class="curve{kind}" d="M{steps}"/>'
    for mark in curve.marks:
        x, y = _at(mark.x, mark.y)
        title = f"<title>{_text(mark.text)}</title>"
        yield f'<circle class="mark{kind}" cx="{x}" cy="{y}" r="{mark.radius:.1f}">{title}</circle>'


def _legend(curve: Curve, line: int) -> Iterator[str]:
    y = _HEIGHT + _LEGEND_LINE * line
    kind = " faint" if curve.faint else ""
    yield f'<path class="curve{kind}" d="M{_LEFT} {y}h20"/>'
    yield f'<text x="{_LEFT + 28}" y="{y + 4}">{_text(curve.name)}</text>'


def _at(x: float, y: float) -> tuple[float, float]:
    return round(_LEFT + _SIDE * x, 1), round(_TOP + _SIDE * (1.0 - y), 1)


def _text(text: str) -> str:
    return html.escape(printable(text), quote=True)
