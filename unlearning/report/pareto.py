"""pareto.png: forgetting against retention, a row each family and thing to forget, a column each corruption.

Readable on white and without telling colours apart: a method has a colour and a marker of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from unlearning.report.figures import ROLE_COLOURS, png

# Okabe and Ito's palette, without its yellow (too light on white) and with its black last.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_LINES: tuple[Literal["-"], Literal["--"]] = ("-", "--")
_LOWEST, _HIGHEST = 0.4, 1.6  # retention and forgetting beyond which a point is only counted
_TARGET = "#e3efe0"

Json = Mapping[str, Any]
Style = tuple[str, str, Literal["-", "--"]]  # colour, marker, line


def picture(summary: Json) -> bytes:
    """The picture of a study's summary, PNG; panels without a finished point stay empty and say so."""
    panels = summary["panels"]
    rows = list(dict.fromkeys((panel["family"], panel["forget"]) for panel in panels))
    columns = list(dict.fromkeys(panel["corruption"] for panel in panels))
    styles = _styles(summary)
    lines = -(-(len(styles) + 4) // _legend_columns(columns))
    height = 2.9 * len(rows) + 0.55 + 0.22 * lines
    figure = Figure(figsize=(max(6.4, 3.4 * len(columns) + 0.5), height), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for panel in panels:
        row, column = rows.index((panel["family"], panel["forget"])), columns.index(panel["corruption"])
        _draw(axes[row][column], panel, summary["plan"]["target"], styles)
    for row, (family, forget) in enumerate(rows):
        axes[row][0].set_ylabel(f"{family}: forget {forget.replace('_', ' ')}\nforgetting (1 = knows nothing)")
    for column, corruption in enumerate(columns):
        axes[0][column].set_title(corruption.replace("_", " "), fontsize=11)
        axes[-1][column].set_xlabel("retention (1 = like the original)")
    handles = _handles(styles, panels)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=_legend_columns(columns), frameon=False, fontsize=8.5
    )
    return png(figure, dpi=140)


def _draw(axis: Axes, panel: Json, target: Json, styles: Mapping[str, Style]) -> None:
    left = _left(panel)
    axis.add_patch(
        Rectangle((target["retention"], target["forgetting"]), 9, 9, facecolor=_TARGET, edgecolor="none", zorder=0)
    )
    axis.axhline(1, color="#bbbbbb", linewidth=0.8, linestyle="--", zorder=1)
    _draw_ceiling(axis, panel["ceiling"], left)
    hidden = sum(_draw_method(axis, line, styles[line["method"]], left) for line in panel["methods"])
    _draw_anchor(axis, panel["reference"])
    axis.plot([1], [0], marker="*", markersize=11, color=ROLE_COLOURS["original"], linestyle="none", zorder=4)
    if not panel["methods"]:
        axis.text(0.5, 0.5, "no finished point", transform=axis.transAxes, ha="center", color="#777777")
    if hidden:
        axis.text(0.02, 0.02, f"{hidden} beyond the frame", transform=axis.transAxes, fontsize=8, color="#777777")
    axis.set_xlim(left, _right(panel) + 0.02 * (1.02 - left))
    axis.set_ylim(max(-0.5, min([-0.06, *(value - 0.03 for value in _values(panel, "forgetting"))])), _top(panel))
    axis.tick_params(labelsize=8.5)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_method(axis: Axes, line: Json, style: Style, left: float) -> int:
    """One curve: means joined along the varied value, bars from the least to the most of the seeds."""
    colour, marker, dashes = style
    points = [point for point in line["points"] if point["forgetting"] and point["retention"]]
    shown = [
        point for point in points if point["retention"]["mean"] >= left and point["forgetting"]["mean"] <= _HIGHEST
    ]
    if shown:
        axis.errorbar(
            [point["retention"]["mean"] for point in shown],
            [point["forgetting"]["mean"] for point in shown],
            xerr=_arms(shown, "retention"),
            yerr=_arms(shown, "forgetting"),
            color=colour, marker=marker, linestyle=dashes, markersize=5, linewidth=1.3,
            elinewidth=0.8, capsize=2, zorder=3,
        )  # fmt: skip
    return len(points) - len(shown)


def _draw_anchor(axis: Axes, reference: Json | None) -> None:
    """The retrained model, with the intervals of its own scores."""
    if reference is None or not reference["forgetting"] or not reference["retention"]:
        return
    at = [reference[name]["value"] for name in ("retention", "forgetting")]
    axis.plot(*[[value] for value in at], marker="*", markersize=11, color=ROLE_COLOURS["reference"], zorder=4)


def _draw_ceiling(axis: Axes, ceiling: Json | None, left: float) -> None:
    """What a classifier of T(x) tells apart: (1 - false positive rate, true positive rate)."""
    if ceiling is None or ceiling["curve"] is None:
        return
    kept = [(1 - false, true) for false, true in ceiling["curve"] if 1 - false >= left - 0.2]
    axis.plot(*zip(*kept, strict=True), color="#8a8a8a", linewidth=1.1, linestyle=":", zorder=2)


def _arms(points: Sequence[Json], name: str) -> list[list[float]]:
    found = [point[name] for point in points]
    return [[one["mean"] - one["least"] for one in found], [one["most"] - one["mean"] for one in found]]


def _left(panel: Json) -> float:
    """Where the retention axis begins: far enough for every point, and never below 0.4."""
    return float(max(_LOWEST, min([0.8, *(value - 0.02 for value in _values(panel, "retention"))])))


def _right(panel: Json) -> float:
    """Where it ends: a reference that was trained briefly may keep more than the original has."""
    return float(min(1.2, max([1.02, *(value + 0.01 for value in _values(panel, "retention"))])))


def _top(panel: Json) -> float:
    return float(min(_HIGHEST, max([1.08, *(value + 0.06 for value in _values(panel, "forgetting"))])))


def _values(panel: Json, name: str) -> list[float]:
    """Everything that is drawn along one axis: both ends of every bar, and the reference."""
    scores = [point[name] for line in panel["methods"] for point in line["points"] if point[name]]
    reference = panel["reference"]
    own = [reference[name]["value"]] if reference and reference[name] else []
    return [*own, *(score[end] for score in scores for end in ("least", "most"))]


def _styles(summary: Json) -> dict[str, Style]:
    """A colour, a marker and a line a method, in the order of the study file: the same in every panel and every run."""
    return {
        name: (_COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)], _LINES[place // len(_COLOURS) % 2])
        for place, name in enumerate(summary["methods"])
    }


def _legend_columns(columns: Sequence[str]) -> int:
    return max(2, min(5, 2 * len(columns) - 1))


def _handles(styles: Mapping[str, Style], panels: Sequence[Json]) -> list[Any]:
    drawn = {line["method"] for panel in panels for line in panel["methods"]}
    return [
        *(
            Line2D([], [], color=colour, marker=marker, linestyle=dashes, markersize=5, label=name.replace("_", " "))
            for name, (colour, marker, dashes) in styles.items()
            if name in drawn
        ),
        _star("original", "original"),
        _star("reference", "reference (never saw it)"),
        Line2D([], [], color="#8a8a8a", linestyle=":", label="what a classifier of T(x) tells apart"),
        Patch(facecolor=_TARGET, label="target"),
    ]


def _star(role: str, label: str) -> Line2D:
    return Line2D([], [], color=ROLE_COLOURS[role], marker="*", markersize=10, linestyle="none", label=label)
