"""The charts of the pages, each from a part of report.json: curves, forests, where a model stands, and a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from unlearning.report.svg import Chart, Point, Scale, ticks

Json = Mapping[str, Any]
Spread = tuple[float, float | None, float | None]  # value and the ends of its interval
Points = Mapping[str, Mapping[str, np.ndarray]]  # model -> set -> [N, 2]

_FRAME = (-1.0, 3.0)  # of forgetting: beyond, a point is drawn at the edge and counted
_LOG_FROM = 20.0  # the largest effort over the least: below, a plain scale shows every point


@dataclass(frozen=True, slots=True)
class Voice:
    """One line of a chart: whose it is, and the colour it has everywhere."""

    name: str
    colour: str  # CSS, `var(--original)`


ROLES = tuple(Voice(role, f"var(--{role})") for role in ("original", "unlearned", "reference"))


@dataclass(frozen=True, slots=True)
class Stand:
    """A point of the plot of forgetting against retention."""

    voice: Voice
    retention: Spread
    forgetting: Spread
    far: bool = False  # True: so far from what may ship that it is left out of the near view


@dataclass(frozen=True, slots=True)
class Corner:
    """Where the gates let pass: from so much retention on, between two bounds of forgetting. None = no bound."""

    retention: float | None
    low: float | None
    high: float | None


def curves(lines: Sequence[tuple[Voice, Json]], unit: str, label: str) -> Markup:
    """Forgetting against effort, a line a voice, intervals as bands; of an effort over decades the logarithm."""
    known = [value for _, line in lines for value in line["forgetting"] if value is not None]
    efforts = sorted({effort for _, line in lines for effort in line["effort"]})
    least = min((effort for effort in efforts if effort > 0), default=1.0)
    log = efforts[-1] / least > _LOG_FROM
    low, high = max(_FRAME[0], min([0.0, *known])), min(_FRAME[1], max([1.0, *known]))
    room = 0.06 * (high - low)
    chart = Chart(440, 230, Scale(efforts[0], efforts[-1], 46, 420, log), Scale(low - room, high + room, 190, 8), label)
    chart.up(ticks(low, high), "forgetting")
    for level in (0.0, 1.0):
        chart.rule(y=level, strong=True)
    chart.across(
        efforts if log or len(efforts) < 8 else ticks(efforts[0], efforts[-1]), f"{unit}, logarithmic" if log else unit
    )
    for voice, line in lines:
        _curve(chart, voice, line)
    _beyond(chart, sum(not low <= value <= high for value in known), 424, 22)
    return chart.markup()


def _beyond(chart: Chart, points: int, x: float, y: float) -> None:
    if points:
        chart.write(f"{points} beyond the frame", x, y, "end")


def _curve(chart: Chart, voice: Voice, line: Json) -> None:
    nothing = [None] * len(line["effort"])
    lows, highs = line.get("low") or nothing, line.get("high") or nothing
    rows = list(zip(line["effort"], line["forgetting"], lows, highs, strict=True))
    bounded = [(effort, low, high) for effort, _, low, high in rows if low is not None and high is not None]
    if bounded:
        chart.band([(at, low) for at, low, _ in bounded], [(at, high) for at, _, high in bounded], voice.colour)
    points = [(effort, value) for effort, value, _, _ in rows if value is not None]
    chart.line(points, voice.colour)
    for point in points:
        chart.dot(point, voice.colour)


def forest(
    rows: Sequence[tuple[str, Mapping[str, Spread | None]]],
    voices: Sequence[Voice],
    levels: Sequence[float],
    title: str,
    label: str,
) -> Markup:
    """A row a name, a point and its interval a voice; lines at `levels`, which are always in the frame."""
    found = [spread for _, by_voice in rows for spread in by_voice.values() if spread is not None]
    numbers = [*levels, *(end for spread in found for end in spread if end is not None)]
    low, high = max(_FRAME[0], min(numbers)), min(_FRAME[1], max(numbers))
    room, each = 0.04 * ((high - low) or 1.0), 12 * len(voices) + 12
    left, foot = 12.0 + min(250.0, 6.2 * max((len(name) for name, _ in rows), default=0)), 10.0 + each * len(rows)
    chart = Chart(600, foot + 36, Scale(low - room, high + room, left, 580), Scale(0, len(rows), foot, 8), label)
    for value in ticks(low, high, 6):
        chart.rule(x=value)
    for value in levels:
        chart.rule(x=value, strong=True)
    chart.across(ticks(low, high, 6), title)
    for row, (name, by_voice) in enumerate(rows):
        middle = len(rows) - row - 0.5
        chart.write(_short(name), left - 8, chart.y(middle) + 4, "end")
        for place, voice in enumerate(voices):
            at = middle + ((len(voices) - 1) / 2 - place) * 12 / each
            _spread(chart, by_voice.get(voice.name), at, voice, place)
    _beyond(chart, sum(not low <= value <= high for value, _, _ in found), 596, chart.height - 8)
    return chart.markup()


def _spread(chart: Chart, spread: Spread | None, at: float, voice: Voice, place: int) -> None:
    if spread is None:
        return
    value, low, high = spread
    if low is not None and high is not None:
        chart.arm((low, at), (high, at), voice.colour)
    chart.dot((value, at), voice.colour, place)


def standing(stands: Sequence[Stand], corner: Corner, whole: bool, title: str) -> Markup:
    """Forgetting against retention. `whole`: from the mean picture on; else near to what may ship, legible."""
    near = [stand for stand in stands if whole or not stand.far]
    ends = [end for stand in near for end in stand.retention if end is not None]
    least, most = min(ends), max(ends)
    if whole:
        left, right = min(0.0, least) - 0.04, max(1.05, most + 0.04)
    else:
        bound = [] if corner.retention is None else [corner.retention]
        room = max(0.006, 0.12 * (most - min([least, *bound])))
        left, right = min([least, *bound]) - room, most + room
    heights = [end for stand in near for end in stand.forgetting if end is not None]
    low, high = min([0.0, *heights]) - 0.06, max([1.0, *heights]) + 0.08
    chart = Chart(440, 300, Scale(left, right, 46, 420), Scale(low, high, 260, 8), title)
    if corner.low is not None:
        floor, ceiling = max(corner.low, low), high if corner.high is None else min(corner.high, high)
        chart.area(left if corner.retention is None else max(left, corner.retention), right, floor, ceiling)
    chart.up(ticks(low, high), title)
    chart.rule(y=1.0, strong=True)
    chart.across(ticks(left, right), "retention (1 = like the original)")
    for place, stand in enumerate(near):
        _stand(chart, stand, place)
    return chart.markup()


def _stand(chart: Chart, stand: Stand, place: int) -> None:
    (x, x_low, x_high), (y, y_low, y_high) = stand.retention, stand.forgetting
    if x_low is not None and x_high is not None:
        chart.arm((x_low, y), (x_high, y), stand.voice.colour)
    if y_low is not None and y_high is not None:
        chart.arm((x, y_low), (x, y_high), stand.voice.colour)
    chart.dot((x, y), stand.voice.colour, place)


def map_of(points: Mapping[str, np.ndarray], colours: Mapping[str, str], label: str) -> Markup:
    """One model's points, by set. A map has no axes: only nearness means anything, and not much."""
    everything = np.concatenate(list(points.values()))
    (left, low), (right, high) = everything.min(axis=0).tolist(), everything.max(axis=0).tolist()
    chart = Chart(300, 300, Scale(left, right, 8, 292), Scale(low, high, 292, 8), label)
    for name, some in points.items():
        where: list[Point] = [(float(x), float(y)) for x, y in some]
        chart.cloud(where, colours[name])
    return chart.markup()


def spread(score: Json | None, key: str = "value") -> Spread | None:
    """Value and interval of a score; None where it has none."""
    if score is None or score.get(key) is None:
        return None
    return float(score[key]), score.get("low"), score.get("high")


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"
