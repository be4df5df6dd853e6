"""The report of `calibrate`: curves that show the quality of scores on held-out images.

They are drawn as SVG, without scripts, and coloured by the page's style sheet.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.core.console import printable
from clipcli.output.page import Card, Section, write_page
from clipcli.output.targets import open_target
from clipcli.tasks.curves import label_curves, overall_curve, reliability

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.runs.classify.learned_files import LabelThreshold, ThresholdFile
    from clipcli.tasks.calibrate import Calibration, Samples
    from clipcli.tasks.curves import PrecisionRecall, ReliabilityBin

_MOST_POINTS = 200
"""Most points of one curve; more cannot be distinguished."""
_SMALLEST, _GROWTH = 2.0, 6.0
"""Radius of the mark of an almost empty bin, and the addition for a bin with all answers."""
_WIDTH, _HEIGHT = 300, 300
_LEFT, _TOP, _SIDE = 44, 12, 240
"""Position and size of the square from (0, 0) to (1, 1), in units of the drawing."""
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LEGEND_LINE = 16


@dataclass(frozen=True)
class CurvesPage:
    """The content of the page."""

    thresholds: ThresholdFile
    calibration: Calibration
    before: Samples
    """The images with the model's uncalibrated scores."""

    def write(self, path: str) -> None:
        """Write the page atomically. Raises OutputError."""
        thresholds = self.thresholds
        lead = (
            f"{thresholds.images:,} images, {len(thresholds.labels):,} labels, scores by {thresholds.model}. "
            f"Temperature {thresholds.temperature:.3g}; decided right on images held out: {thresholds.accuracy:.1%}"
        )
        with open_target(path) as target:
            write_page(target, "clipcli calibrate", lead, self._sections())

    def _sections(self) -> Iterator[Section]:
        held_out = "On held-out images: each is scored by a calibration without it."
        yield Section("All labels", tuple(self._overall()), held_out)
        curves = label_curves(self.calibration.held_out)
        cards = tuple(_label_card(entry, curve) for entry, curve in zip(self.thresholds.labels, curves, strict=True))
        yield Section("Each label", cards, "The number is the average precision; the dot is what the threshold gives.")

    def _overall(self) -> Iterator[Card]:
        before, after = self.thresholds.calibration_error
        curves = (
            _bins(f"temperature 1: calibration error {before:.3f}", reliability(self.before), faint=True),
            _bins(f"calibrated: calibration error {after:.3f}", reliability(self.calibration.held_out)),
        )
        chart = Chart("Reliability: share right by score", "score", "share right", curves, diagonal=True)
        yield Card("Reliability", None, chart=draw_chart(chart), facts=("Above the diagonal, the scores are too low.",))
        overall = overall_curve(self.calibration.held_out)
        if overall is not None:
            chart = Chart("Precision by recall, all labels", "recall", "precision", (Curve("", _steps(overall)),))
            facts = (f"average precision {overall.average:.4f}, with one threshold for all labels",)
            yield Card("Precision and recall", None, chart=draw_chart(chart), facts=facts)


def _bins(name: str, bins: Sequence[ReliabilityBin], *, faint: bool = False) -> Curve:
    total = max(sum(bin_.count for bin_ in bins), 1)
    marks = tuple(
        ChartPoint(
            bin_.confidence, bin_.accuracy,
            f"{bin_.count:,} answers of score {bin_.confidence:.3f}: {bin_.accuracy:.1%} right",
            _SMALLEST + _GROWTH * (bin_.count / total) ** 0.5,
        )
        for bin_ in bins
    )  # fmt: skip
    return Curve(name, [(mark.x, mark.y) for mark in marks], marks, faint)


def _label_card(entry: LabelThreshold, curve: PrecisionRecall | None) -> Card:
    images = f"{entry.images:,} image{'' if entry.images == 1 else 's'}"
    origin = "" if entry.own else ", of all labels"
    facts = (
        f"threshold {entry.threshold:.4f}{origin}; {images}",
        f"precision {_share(entry.precision)}",
        f"recall {_share(entry.recall)}",
    )
    if curve is None:
        return Card(entry.label, None, facts=facts)
    marks: tuple[ChartPoint, ...] = ()
    if entry.precision is not None and entry.recall is not None:
        description = (
            f"threshold {entry.threshold:.4f}: precision {entry.precision[0]:.3f}, recall {entry.recall[0]:.3f}"
        )
        marks = (ChartPoint(entry.recall[0], entry.precision[0], description, 4.0),)
    title = f"Precision by recall of {entry.label}"
    chart = Chart(title, "recall", "precision", (Curve("", _steps(curve), marks),))
    return Card(entry.label, None, chart=draw_chart(chart), facts=facts, label=entry.label, score=curve.average)


def _share(share: tuple[float, float, float] | None) -> str:
    return "unknown" if share is None else "{:.3f} ({:.3f}–{:.3f})".format(*share)


def _steps(curve: PrecisionRecall) -> list[tuple[float, float]]:
    """Return the points (recall, precision), thinned to at most `_MOST_POINTS`."""
    points = list(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True))
    stride = -(-len(points) // _MOST_POINTS)
    return [*points[:-1:stride], points[-1]]


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


def draw_chart(chart: Chart) -> str:
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
