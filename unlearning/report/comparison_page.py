"""compare.html, pareto.png and attacks.png: several runs on one page, self-contained as report.html is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearning import files
from unlearning.report import charts, standing_view
from unlearning.report.attacked import titled
from unlearning.report.charts import Stand, Voice
from unlearning.report.comparison import Told
from unlearning.report.figures import png
from unlearning.report.page import environment

Json = Mapping[str, Any]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B85F95", "#B57A00", "#3A8FC4", "#333333")  # as in style.css
_MARKERS = ("o", "s", "^", "D", "v")
_REFERENCE = Voice("(reference)", "var(--soft)")  # no run is called that, and none has its grey


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
            curves=_overlaid(runs, voices, places=False),
            places=_overlaid(runs, voices, places=True),
            tellings=_tellings(runs, voices),
        )
    )


def pareto(summary: Json) -> bytes:
    """Forgetting against retention of all runs, with intervals, and of their references; PNG."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.axhline(1, color="#bbbbbb", linewidth=1, linestyle="--")
    axis.plot([1], [0], "*", color="#1d2129", markersize=9, label="original")
    for place, run in enumerate(summary["runs"]):
        _mark(axis, run["standing"], _COLOURS[place % 7], _MARKERS[place % 5], run["name"])
    seen: list[Any] = []
    for run in summary["runs"]:
        if run["reference_standing"] is not None and run["reference_standing"] not in seen:
            seen.append(run["reference_standing"])
            label = "reference" if len(seen) == 1 else None
            _mark(axis, run["reference_standing"], "#667085", "P", label)
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
    stands += [*references.values(), Stand(Voice("original", "var(--ink)"), *standing_view.ORIGINAL)]
    stands.append(Stand(Voice("mean_picture", "var(--mean_picture)"), *standing_view.NOTHING, far=True))
    return charts.standing(stands, standing_view.corner(runs[0].report), whole, "forgetting")


def _alike(runs: Sequence[Told], wanted: str) -> list[list[tuple[int, Json]]]:
    """Attacks with the same fields that two runs made at least, each with the places of the runs."""
    by_recipe: dict[bytes, list[tuple[int, Json]]] = {}
    for place, run in enumerate(runs):
        for entry in run.report.get("attacks", ()):
            if entry.get("finding") == wanted:
                key = files.canonical([entry["recipe"], entry.get("places"), entry.get("effort_unit")])
                by_recipe.setdefault(key, []).append((place, entry))
    return [found for found in by_recipe.values() if len({place for place, _ in found}) > 1]


def _overlaid(runs: Sequence[Told], voices: Sequence[Voice], places: bool) -> list[dict[str, Any]]:
    """A chart an attack that brings back: {title, fields, chart}; those of `places` in a list, or those of effort."""
    return [
        {
            "title": titled(found[0][1]["kind"]),
            "fields": {name: value for name, value in found[0][1]["recipe"].items() if name != "kind"},
            "chart": _places(found, voices) if places else _efforts(found, voices),
        }
        for found in _alike(runs, "curve")
        if bool(found[0][1].get("places")) == places
    ]


def _efforts(found: Sequence[tuple[int, Json]], voices: Sequence[Voice]) -> Markup:
    first = found[0][1]
    lines = [(voices[place], entry["unlearned"]) for place, entry in found]
    label = f"forgetting against effort, {titled(first['kind'])}"
    return charts.curves([(_REFERENCE, first["reference"]), *lines], first["effort_unit"], label)


def _places(found: Sequence[tuple[int, Json]], voices: Sequence[Voice]) -> Markup:
    first = found[0][1]
    rows = [
        (
            name,
            {
                **{voices[place].name: _at(entry["unlearned"], row) for place, entry in found},
                _REFERENCE.name: _at(first["reference"], row),
            },
        )
        for row, name in enumerate(first["places"])
    ]
    spoken = [*(voices[place] for place, _ in found), _REFERENCE]
    return charts.forest(rows, spoken, (0.0, 1.0), "forgetting", f"forgetting, {titled(first['kind'])}")


def _tellings(runs: Sequence[Told], voices: Sequence[Voice]) -> Markup | None:
    """The headline AUC of every attack that tells apart, a row an attack; None where no two runs made the same."""
    rows = []
    for found in _alike(runs, "told"):
        words = [str(value) for value in found[0][1]["recipe"].values() if isinstance(value, str)]
        told = {voices[place].name: _auc(entry["unlearned"]) for place, entry in found}
        name = titled(", ".join(dict.fromkeys(words)))
        rows.append((name, {**told, _REFERENCE.name: _auc(found[0][1]["reference"])}))
    if not rows:
        return None
    return charts.forest(rows, [*voices, _REFERENCE], (0.5,), "AUC (0.5 = a coin)", "AUC of attacks that tell apart")


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
