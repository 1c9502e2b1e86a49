"""attacks.png and map.png of a report, for MLflow and Dagster. Readable on white; report.html draws its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearning.report import attacked
from unlearning.report.charts import Points
from unlearning.report.figures import ROLE_COLOURS, SET_NAMES, png

_SETS = {"forget": "#c8553d", "forget_holdout": "#e2a03f", "retain": "#3b6ea5", "holdout": "#6f4fa0"}
_MARKERS = {"original": "s", "unlearned": "o", "reference": "D"}


def attacks(report: Mapping[str, Any]) -> bytes | None:
    """One row a kind, its worst variant: forgetting before and after, or AUC; None where no attack was made."""
    lines = [row["line"] | {"title": row["title"]} for row in attacked.glance(report) if row["line"] is not None]
    curves, tellings, epsilons = (
        [one for one in lines if one["finding"] == finding] for finding in ("curve", "told", "epsilon")
    )
    panels = [
        (found, title, levels)
        for found, title, levels in (
            (curves, "forgetting, before (hollow) and after the attack", (0.0, 1.0)),
            (tellings, "AUC (0.5 = a coin)", (0.5,)),
            (epsilons, "epsilon (0 = like retrained models)", (0.0,)),
        )
        if found
    ]
    if not panels:
        return None
    heights = [len(found) + 1.6 for found, _, _ in panels]
    figure = Figure(figsize=(6.4, 0.42 * sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (found, title, levels) in zip(axes, panels, strict=True):
        _rows(axis, found, title, levels)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return png(figure)


def embedding_map(points: Points) -> bytes | None:
    """A panel a model; None where there is no map."""
    if not points:
        return None
    figure = Figure(figsize=(3.1 * len(points), 3.6), layout="constrained")
    axes = figure.subplots(1, len(points), squeeze=False)[0]
    for axis, (role, by_set) in zip(axes, points.items(), strict=True):
        for name, some in by_set.items():
            axis.scatter(some[:, 0], some[:, 1], s=6, linewidths=0, color=_SETS[name], label=SET_NAMES[name])
        axis.set_title(role, fontsize=11)
        axis.set_xticks([])
        axis.set_yticks([])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    figure.suptitle("t-SNE of encoders: a picture, not evidence", fontsize=9, color="#667085")
    return png(figure, dpi=85)  # as it is, it fits into Dagster's event log


def _rows(axis: Axes, lines: list[dict[str, Any]], title: str, levels: tuple[float, ...]) -> None:
    for level in levels:
        axis.axvline(level, color="#bbbbbb", linewidth=1)
    for place, line in enumerate(reversed(lines)):
        for role, colour in ROLE_COLOURS.items():
            if role in _MARKERS and line[role] is not None:
                label = role if place == 0 else None
                axis.plot([line[role]], [place], _MARKERS[role], color=colour, markersize=5.5, label=label)
        if line["start"] is not None and line["unlearned"] is not None:
            colour = ROLE_COLOURS["unlearned"]
            axis.plot([line["start"], line["unlearned"]], [place, place], color=colour, linewidth=1)
            axis.plot([line["start"]], [place], "o", color=colour, markersize=5.5, markerfacecolor="white")
    axis.set_yticks(range(len(lines)), [line["title"] for line in reversed(lines)])
    axis.set_ylim(-0.6, len(lines) - 0.4)
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
