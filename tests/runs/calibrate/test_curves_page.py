from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from clipcli.runs.calibrate.curves_page import Chart, ChartPoint, Curve, draw_chart

HOSTILE = '"><script>1</script>\x1b[31m & co'


def test_a_chart_is_well_formed_whatever_its_words():
    curve = Curve(HOSTILE, [(0.0, 0.0), (1.0, 1.0)], (ChartPoint(0.5, 0.5, HOSTILE),))
    root = ET.fromstring(draw_chart(Chart(HOSTILE, HOSTILE, HOSTILE, (curve,), diagonal=True)))  # noqa: S314 - our own
    assert not root.findall(".//script")
    assert "\x1b" not in ET.tostring(root, encoding="unicode")
    assert root.find(".//title").text == '"><script>1</script>\\x1b[31m & co'


def test_the_corners_of_the_square_are_where_the_grid_ends():
    drawn = draw_chart(Chart("t", "x", "y", (Curve("", [(0.0, 0.0), (1.0, 1.0)]),), diagonal=True))
    [start, end] = re.search(r'class="curve" d="M(.*?)L(.*?)"', drawn).groups()
    [left, bottom], [right, top] = map(float, start.split()), map(float, end.split())
    grid = re.findall(r'class="grid" d="M([\d.]+) ([\d.]+)V([\d.]+)M([\d.]+) ([\d.]+)H([\d.]+)"', drawn)
    assert {float(edge[0]) for edge in grid} >= {left, right}
    assert {float(edge[4]) for edge in grid} >= {bottom, top}


def test_only_curves_with_a_name_are_in_the_legend():
    drawn = draw_chart(Chart("t", "x", "y", (Curve("before", [(0.0, 1.0)], faint=True), Curve("", [(0.0, 1.0)]))))
    assert drawn.count(">before</text>") == 1
    assert drawn.count("curve faint") == 2
    assert drawn.count('class="curve"') == 1
