"""Charts: every point stands where the numbers say, and no text becomes markup."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from unlearning.report import charts
from unlearning.report.charts import ROLES, Corner, Stand, Voice
from unlearning.report.svg import Chart, Scale, ticks

HOSTILE = '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.03, 1.31, [0.0, 0.5, 1.0]),
        (0.97, 1.02, [0.97, 0.98, 0.99, 1.0, 1.01, 1.02]),
        (3.0, 3.0, [3.0]),
    ],
)
def test_ticks_are_round_numbers_within(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_scale_is_a_straight_line_or_a_logarithm_and_ends_at_its_edges() -> None:
    straight, log = Scale(0, 10, 100, 200), Scale(0, 99, 0, 2, log=True)
    assert [straight(value) for value in (0, 2.5, 10, 11, -3)] == [100, 125, 200, 200, 100]
    assert log(9) == pytest.approx(2 * math.log(10) / math.log(100))
    assert Scale(5, 5, 0, 10)(5) == 5


def test_text_in_a_chart_is_never_markup() -> None:
    chart = Chart(10, 10, Scale(0, 1, 0, 10), Scale(0, 1, 10, 0), HOSTILE)
    chart.write(HOSTILE, 1, 1)
    assert "<script" not in chart.markup()
    rows: Any = [(HOSTILE, {"original": (0.5, None, None)})]
    assert "<script" not in charts.forest(rows, ROLES, (0.5,), HOSTILE, HOSTILE)


def test_a_forest_has_a_point_and_an_interval_where_there_is_one() -> None:
    voices = ROLES[:2]
    rows: Any = [("a", {"original": (0.75, 0.5, 1.0), "unlearned": (0.5, None, None)}), ("b", {"original": None})]
    svg = charts.forest(rows, voices, (0.5,), "AUC", "of two")
    # From 0.48 at 12 + 6.2 pixels to 1.02 at 580.
    here = 18.2 + (580 - 18.2) * (0.75 - 0.48) / 0.54
    assert f'cx="{here:.1f}"' in svg
    assert svg.count('class="arm"') == 1
    assert svg.count("fill: var(") == 2  # one point each, none for what was not measured


def test_effort_over_decades_is_drawn_by_its_logarithm() -> None:
    line = {"effort": [0.0, 1.0, 300.0], "forgetting": [0.0, 0.5, 1.0], "low": [None] * 3, "high": [None] * 3}
    svg = charts.curves([(ROLES[0], line)], "steps", "a curve")
    points = re.findall(r'polyline points="([^"]+)"', svg)[0].split()
    assert float(points[1].split(",")[0]) == pytest.approx(46 + 374 * math.log(2) / math.log(301), abs=0.06)
    assert 'class="band"' not in svg
    bounded = {**line, "low": [None, 0.4, 0.9], "high": [None, 0.6, 1.1]}
    assert charts.curves([(ROLES[0], bounded)], "steps", "a curve").count('class="band"') == 1


def test_what_lies_far_beyond_is_drawn_at_the_edge_and_counted() -> None:
    rows: Any = [("a hole", {"original": (60.0, None, None), "unlearned": (0.5, 0.25, 70.0)})]
    svg = charts.forest(rows, ROLES[:2], (0.0, 1.0), "forgetting", "of two")
    assert "1 beyond the frame" in svg
    line = {"effort": [0.0, 1.0], "forgetting": [0.5, -8.0]}
    assert "1 beyond the frame" in charts.curves([(ROLES[0], line)], "steps", "a curve")


def test_near_the_corner_the_mean_picture_is_not_in_the_frame() -> None:
    stands = [
        Stand(Voice("unlearned", "red"), (0.99, 0.98, 1.0), (0.95, 0.9, 1.0)),
        Stand(Voice("mean_picture", "grey"), (0.0, None, None), (1.0, None, None), far=True),
    ]
    whole, near = (charts.standing(stands, Corner(0.98, 0.9, None), wide, "forgetting") for wide in (True, False))
    assert (whole.count("fill: red"), near.count("fill: red")) == (1, 1)
    assert (whole.count("fill: grey"), near.count("fill: grey")) == (1, 0)


def test_a_map_has_every_point() -> None:
    points = {"forget": np.array([[0.0, 0.0], [1.0, 1.0]]), "retain": np.array([[0.5, 2.0]])}
    svg = charts.map_of(points, {"forget": "red", "retain": "blue"}, "a map")
    assert "M8 292h0" in svg
    assert "M292 150h0" in svg
    assert "M150 8h0" in svg
