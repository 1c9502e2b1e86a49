"""A study's whole pictures: the part of table.md, and whole_pictures.png. All from the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearning.report.figures import ROLE_COLOURS, png
from unlearning.report.grid import grid, interval, percent

Json = Mapping[str, Any]

# Okabe and Ito's palette, and tones of grey for more methods than it has.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#777777", "#BBBBBB")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_HEAD = (
    "method", "copies, %", "bits a dimension beyond the original's", "of the reference's way", "forgetting, trained on",
    "inception score", "Fréchet", "held-out bits beyond the original's", "beside the reference", "seeds beyond",
)  # fmt: skip
_SAID = {"over_forgets": "**over-forgets**", "remembers": "remembers", "like_reference": "like it", None: "unknown"}


def table(panel: Json, margin: float | None) -> Iterator[str]:
    """The part about whole pictures, Markdown; nothing where the points were not asked for any."""
    anchors = panel.get("whole_pictures")  # an older summary has none
    if anchors is None or margin is None:
        return
    yield (
        "Whole pictures. Copies: pictures drawn from nothing that are nearer to an image to forget than the limit, all "
        "seeds together, with Wilson's 95 % interval; the start noise is the same for every model. Bits: the images "
        "to forget by the probability-flow ODE, relative, so beside the original's. Way: 0 = as likely as to the "
        f"original, 1 = as to the reference, which never saw them; more than {1 + margin:g} over-forgets, a defect, "
        f"less than {1 - margin:g} remembers, by bits or by forgetting. Quality is of pictures that are no copies.\n"
    )
    original = anchors["original"]
    rows = [_anchor(role, anchors[role], original, panel["reference"]) for role in ("original", "reference")]
    rows += [_row(line, point, original) for line, point in points(panel)]
    yield from grid(_HEAD, rows)
    yield ""


def picture(summary: Json) -> bytes | None:
    """Bits of the image to forget against inception score, copies beneath; PNG. None where no panel has any."""
    panels = [panel for panel in summary["panels"] if panel.get("whole_pictures") is not None and points(panel)]
    if not panels:
        return None
    figure = Figure(figsize=(7.2 * len(panels), 7.4), layout="constrained")
    axes = figure.subplots(2, len(panels), squeeze=False, height_ratios=(1.6, 1))
    for column, panel in enumerate(panels):
        _draw_ways(axes[0][column], panel, summary["plan"]["target"]["reference_margin"])
        _draw_copies(axes[1][column], panel)
        axes[0][column].set_title(f"{panel['family']}: forget {panel['forget'].replace('_', ' ')}", fontsize=11)
    return png(figure, dpi=140)


def points(panel: Json) -> list[tuple[Json, Json]]:
    """Every method's line and point that has whole pictures, in order."""
    return [(line, point) for line in panel["methods"] for point in line["points"] if point.get("whole_pictures")]


def _name(line: Json, point: Json) -> str:
    value = "" if line["varied"] is None else f", {line['varied'].rpartition('.')[2]} {point['value']}"
    return f"{line['method']}{value}".replace("_", " ")


def _anchor(role: str, found: Json, original: Json, reference: Json | None) -> list[str]:
    score = None if reference is None else reference.get("forgetting_trained")
    forgetting = "0" if role == "original" else "" if score is None else f"{score['value']:.3f}"
    way = "0" if role == "original" else "1"
    return [f"({role})", percent(found["copies"]), _beyond(found, original, "bits"), way, forgetting, *_quality(found),
            _beyond(found, original, "holdout_bits"), "", ""]  # fmt: skip


def _row(line: Json, point: Json, original: Json) -> list[str]:
    found = point["whole_pictures"]
    way = found["ways"]["bits"]
    said = ", ".join(
        f"{_SAID[found['sides'][name]]} by {word}"
        for name, word in (("bits", "bits"), ("forgetting_trained", "forgetting"))
    )
    beyond = " and ".join(str(found["beyond"][name]) for name in ("bits", "forgetting_trained"))
    return [_name(line, point), percent(found["copies"]), _beyond(found, original, "bits"),
            "" if way is None else f"{way:.2f}", interval(point.get("forgetting_trained")), *_quality(found),
            _beyond(found, original, "holdout_bits"), said, f"{beyond} of {len(point['seeds'])}"]  # fmt: skip


def _beyond(found: Json, original: Json, name: str) -> str:
    if found[name] is None or original[name] is None:
        return ""
    less = original[name]["mean"]
    bounds = {end: None if found[name][end] is None else found[name][end] - less for end in ("mean", "low", "high")}
    return interval(bounds, 2)


def _quality(found: Json) -> list[str]:
    return [interval(found[name], places) for name, places in (("inception_score", 2), ("frechet", 1))]


def _draw_ways(axis: Axes, panel: Json, margin: float) -> None:
    """A small mark a seed, a large one their mean; the band is what counts as like the reference."""
    axis.axvspan(1 - margin, 1 + margin, color=ROLE_COLOURS["reference"], alpha=0.13, linewidth=0)
    for role, at in (("original", 0.0), ("reference", 1.0)):
        axis.axvline(at, color=ROLE_COLOURS[role], linewidth=1, linestyle="--")
        score = panel["whole_pictures"][role]["inception_score"]
        if score is not None:
            label = "reference (never saw it)" if role == "reference" else role
            axis.plot([at], [score["mean"]], marker="*", markersize=14, color=ROLE_COLOURS[role], linestyle="none",
                      label=label, zorder=4)  # fmt: skip
    for place, (line, point) in enumerate(points(panel)):
        found, style = point["whole_pictures"], _style(place)
        seeds = zip(found["seeds_way"]["bits"], found["seeds_quality"]["inception_score"], strict=True)
        known = [(way, score) for way, score in seeds if way is not None and score is not None]
        axis.plot([way for way, _ in known], [score for _, score in known], alpha=0.55, markersize=4, **style)
        if known:
            mean = [sum(values) / len(known) for values in zip(*known, strict=True)]
            axis.plot([mean[0]], [mean[1]], markersize=9, label=_name(line, point), zorder=3, **style)
    axis.set_xlabel(
        "NLL of the repeated image: 0 = the original's, 1 = the reference's (right of the band: over-forgets)"
    )
    axis.set_ylabel("inception score of the other pictures")
    axis.legend(frameon=False, fontsize=7.5, loc="best")


def _draw_copies(axis: Axes, panel: Json) -> None:
    """A bar a model, Wilson's interval on it: the share of drawn pictures that are copies."""
    anchors = panel["whole_pictures"]
    bars = [(role, anchors[role]["copies"], ROLE_COLOURS[role]) for role in ("original", "reference")]
    bars += [
        (_name(line, point), point["whole_pictures"]["copies"], _style(place)["color"])
        for place, (line, point) in enumerate(points(panel))
    ]
    shown = [(name, copies, colour) for name, copies, colour in bars if copies is not None]
    rates = [100 * copies["rate"] for _, copies, _ in shown]
    arms = [
        [100 * (copies["rate"] - copies["low"]) for _, copies, _ in shown],
        [100 * (copies["high"] - copies["rate"]) for _, copies, _ in shown],
    ]
    places = range(len(shown))
    axis.bar(places, rates, color=[colour for _, _, colour in shown], yerr=arms, capsize=3, width=0.65)
    axis.set_xticks(list(places), [name for name, _, _ in shown], rotation=30, ha="right", fontsize=8)
    axis.set_ylabel("copies drawn, %")


def _style(place: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": "none",
    }
