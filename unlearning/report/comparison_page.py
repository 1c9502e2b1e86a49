"""compare.html, pareto.png and attacks.png: several runs on one page, self-contained as report.html is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearning import files
from unlearning.report import charts, standing_view
from unlearning.report.attack_view import titled
from unlearning.report.charts import Stand, Voice
from unlearning.report.comparison import Told
from unlearning.report.figures import ROLE_COLOURS, png
from unlearning.report.page import environment

Json = Mapping[str, Any]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B85F95", "#B57A00", "#3A8FC4", "#333333")  # as in style.css
_MARKERS = ("o", "s", "^", "D", "v")
_REFERENCE = Voice("reference", "var(--reference)")
_AXES = {"curve": "forgetting", "told": "AUC (0.5 = a coin)", "epsilon": "epsilon"}


def render(summary: Json, runs: Sequence[Told]) -> str:
    """The page, HTML. `summary` is comparison.compared(runs)."""
    voices = _voices(summary)
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            summary=summary,
            voices=voices,
            whole=_standing(summary, runs, voices, whole=True),
            near=_standing(summary, runs, voices, whole=False),
            overlaid=_overlaid(runs, voices),
        )
    )


def pareto(summary: Json) -> bytes:
    """Forgetting against retention of all runs, with intervals, and of their references; PNG."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.axhline(1, color="#bbbbbb", linewidth=1, linestyle="--")
    axis.plot([1], [0], "*", color=ROLE_COLOURS["original"], markersize=11, label="original")
    for place, run in enumerate(summary["runs"]):
        _mark(axis, run["standing"], _COLOURS[place % 7], _MARKERS[place % 5], run["name"])
    seen: list[Any] = []
    for run in summary["runs"]:
        if run["reference_standing"] is not None and run["reference_standing"] not in seen:
            seen.append(run["reference_standing"])
            label = "reference" if len(seen) == 1 else None
            _mark(axis, run["reference_standing"], ROLE_COLOURS["reference"], "*", label)
    axis.set_xlabel("retention (1 = like the original)")
    axis.set_ylabel("forgetting (1 = knows nothing)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    axis.spines[["top", "right"]].set_visible(False)
    return png(figure)


def attacks(summary: Json) -> bytes | None:
    """The signal of every kind in every run, with intervals; PNG, None where none was measured."""
    rows = [row for row in summary["attacks"] if any(_signal(one) for one in row["runs"])]
    if not rows:
        return None
    count = len(summary["runs"])
    figure = Figure(figsize=(6.8, 0.9 + len(rows) * (0.25 + 0.16 * count)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="#bbbbbb", linewidth=1)
    for height, row in enumerate(reversed(rows)):
        for place, one in enumerate(row["runs"]):
            found = _signal(one)
            if found is None:
                continue
            at = height + (count - 1 - 2 * place) * 0.35 / count
            label = summary["runs"][place]["name"] if height == len(rows) - 1 else None
            colour, marker = _COLOURS[place % 7], _MARKERS[place % 5]
            if found["low"] is not None and found["high"] is not None:
                axis.plot([found["low"], found["high"]], [at, at], color=colour, linewidth=1)
            axis.plot([found["value"]], [at], marker, color=colour, markersize=5, label=label)
    axis.set_yticks(range(len(rows)), [row["title"] for row in reversed(rows)])
    axis.set_xlabel("signal (what the attack brings, beyond what is no finding)")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return png(figure)


def _voices(summary: Json) -> list[Voice]:
    return [Voice(run["name"], f"var(--run{place % 7})") for place, run in enumerate(summary["runs"])]


def _standing(summary: Json, runs: Sequence[Told], voices: Sequence[Voice], whole: bool) -> Markup | None:
    stands = [
        Stand(voice, *run["standing"])
        for voice, run in zip(voices, summary["runs"], strict=True)
        if run["standing"] is not None
    ]
    if not stands:
        return None
    references = {
        files.canonical(run["reference_standing"]): Stand(_REFERENCE, *run["reference_standing"])
        for run in summary["runs"]
        if run["reference_standing"] is not None
    }
    stands += [*references.values(), Stand(Voice("original", "var(--original)"), *standing_view.ORIGINAL)]
    stands.append(Stand(Voice("mean_picture", "var(--mean_picture)"), *standing_view.NOTHING, far=True))
    return charts.standing(stands, standing_view.corner(runs[0].report), whole, "forgetting")


def _overlaid(runs: Sequence[Told], voices: Sequence[Voice]) -> list[dict[str, Any]]:
    """A chart an attack with the same fields that two runs made at least: {title, fields, chart}."""
    by_recipe: dict[bytes, list[tuple[int, Json]]] = {}
    for place, run in enumerate(runs):
        for entry in run.report.get("attacks", ()):
            if entry.get("finding") in ("curve", "told"):
                key = files.canonical([entry["recipe"], entry["finding"], entry.get("places")])
                by_recipe.setdefault(key, []).append((place, entry))
    return [
        {
            "title": titled(found[0][1]["kind"]),
            "fields": {name: value for name, value in found[0][1]["recipe"].items() if name != "kind"},
            "chart": _chart(found, voices),
        }
        for found in by_recipe.values()
        if len({place for place, _ in found}) > 1
    ]


def _chart(found: Sequence[tuple[int, Json]], voices: Sequence[Voice]) -> Markup:
    first = found[0][1]
    label = f"{titled(first['kind'])}, {_AXES[first['finding']]}"
    spoken = [voices[place] for place, _ in found]
    if first["finding"] == "told":
        rows = [
            (voices[place].name, {role: _auc(entry[role]) for role in ("unlearned", "reference")})
            for place, entry in found
        ]
        return charts.forest(rows, charts.ROLES[1:], (0.5,), _AXES["told"], label)
    if first.get("places"):
        names = list(first["places"])
        rows = [
            (name, {voices[place].name: _at(entry["unlearned"], row) for place, entry in found})
            for row, name in enumerate(names)
        ]
        return charts.forest(rows, spoken, (0.0, 1.0), _AXES["curve"], label)
    lines = [(voices[place], entry["unlearned"]) for place, entry in found]
    return charts.curves([(_REFERENCE, first["reference"]), *lines], first["effort_unit"], label)


def _auc(told: Json) -> charts.Spread | None:
    return charts.spread(told["separations"][0], "auc")


def _at(line: Json, place: int) -> charts.Spread | None:
    value = line["forgetting"][place]
    if value is None:
        return None
    low, high = (line[end][place] if line.get(end) else None for end in ("low", "high"))
    return value, low, high


def _signal(headline: Json | None) -> Json | None:
    return None if headline is None else headline.get("signal")


def _mark(axis: Axes, standing: Any, colour: str, marker: str, label: str | None) -> None:
    if standing is None:
        return
    (x, x_low, x_high), (y, y_low, y_high) = standing
    if x_low is not None and x_high is not None:
        axis.plot([x_low, x_high], [y, y], color=colour, linewidth=0.9)
    if y_low is not None and y_high is not None:
        axis.plot([x, x], [y_low, y_high], color=colour, linewidth=0.9)
    axis.plot([x], [y], marker, color=colour, markersize=6, label=label)
