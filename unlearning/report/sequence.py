"""table.md and sequence.png: what became of every request of a sequence, and of the rest. All from the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from unlearning.report.figures import ROLE_COLOURS, png
from unlearning.report.grid import grid, origin, percent

Json = Mapping[str, Any]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_HEAD = (
    "after request", "of those asked for: forgetting, least to most", "the first one's", "the reference's",
    "still remembered", "over-forgotten", "their copies, %", "copies of those to come, %", "retention", "Fréchet",
    "inception score",
)  # fmt: skip


def table(summary: Json) -> str:
    """The whole page, Markdown."""
    return "\n".join(_page(summary)) + "\n"


def picture(summary: Json) -> bytes:
    """The forgetting of every request and what the rest is like, against the number of requests so far; PNG."""
    walks = summary["methods"]
    figure = Figure(figsize=(max(9.0, 4.6 * len(walks)), 6.6), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.15, 1))[:, 0]
    axes = above.subplots(1, max(1, len(walks)), squeeze=False, sharey=True)[0]
    for axis, walk in zip(axes, walks, strict=False):
        _draw_requests(axis, walk)
    axes[0].set_ylabel("forgetting of each request\n(0 = original, 1 = knows nothing)")
    _draw_rest(below, walks)
    return png(figure, dpi=140)


def _page(summary: Json) -> Iterator[str]:
    plan, margin = summary["plan"], summary["plan"]["margin"]
    yield f"# Sequence {summary['name']}\n"
    yield (
        f"{len(plan['classes'])} deletions, one after the other, on a model of {summary['dataset']}; each starts from "
        "what the one before it left. Forgetting of a request: 0 = its images are as likely as to the original, 1 = as "
        "to who knows each pixel's mean and variance alone. The reference is one model that never saw any of them. "
        f"Still remembered: less than {1 - margin:.0%} of the reference's way from the original; over-forgotten: more "
        f"than {1 + margin:.0%} of it, a defect: the image stands out as one that was deleted. Copies: pictures drawn "
        f"from nothing that are nearer than {summary['copy_distance']:g} (root mean square of pixels in [0, 1]) to an "
        "image, with Wilson's 95 % interval. Retention and quality are of what no request names.\n"
    )
    for walk in summary["methods"]:
        yield f"## {walk['method']}\n"
        yield _costs(walk)
        yield from grid(_HEAD, list(_rows(walk)))
        yield ""
        yield from _by_request(walk)
    yield from origin(summary)


def _costs(walk: Json) -> str:
    made = walk["generations"]
    seconds = sum(one["seconds"] for one in made) / len(made)
    return f"{made[-1]['steps']} steps a request, {seconds:.0f} s on average.\n"


def _rows(walk: Json) -> Iterator[list[str]]:
    looks = walk["looks"]
    for role in ("original", "reference"):
        yield [f"({role})", "", "", "", "", "", *_rest(looks[-1], role)]
    for look in looks:
        asked = [one for one in look["requests"] if one["asked"]]
        known = [one["forgetting"] for one in asked if one["forgetting"] is not None]
        spread = f"{_mean(known):.2f}, {min(known):.2f} to {max(known):.2f}" if known else ""
        beside = [one["reference"] for one in asked if one["reference"] is not None]
        sides = [one["side"] for one in asked]
        yield [
            f"{look['after']}",
            spread,
            _number(asked[0]["forgetting"]),
            _number(_mean(beside) if beside else None),
            f"{sides.count('remembers')} of {len(asked)}",
            f"{sides.count('over_forgets')} of {len(asked)}",
            *_rest(look, "unlearned"),
        ]


def _rest(look: Json, role: str) -> list[str]:
    """What is drawn, and what is kept, of one model of a look."""
    copies, drawn = look["copies"].get(role), look["drawn"].get(role, {})
    score = drawn.get("inception_score")
    return [
        "" if copies is None else percent(copies["asked"]),
        "" if copies is None else percent(copies["to_come"]),
        _number(_retention(look, role), 3),
        _number(drawn.get("frechet"), 3),
        "" if score is None else f"{score['mean']:.2f}",
    ]


def _retention(look: Json, role: str) -> float | None:
    if role == "original":
        return 1.0
    found = look["scores"].get("retention" if role == "unlearned" else "reference_retention")
    return None if found is None else found["value"]


def _by_request(walk: Json) -> Iterator[str]:
    """How each request fares, look by look; those that were not asked for yet in brackets."""
    looks = walk["looks"]
    head = ("request", "the reference's", *(f"after {look['after']}" for look in looks))
    rows = []
    for place, one in enumerate(looks[-1]["requests"]):
        seen = [look["requests"][place] for look in looks]
        told = [_number(each["forgetting"]) if each["asked"] else f"({_number(each['forgetting'])})" for each in seen]
        rows.append([f"{place + 1}: {one['class']}", _number(one["reference"]), *told])
    yield "Forgetting of each request; in brackets before it was asked for.\n"
    yield from grid(head, rows)
    yield ""


def _draw_requests(axis: Axes, walk: Json) -> None:
    """A line a request from the look after it was asked for; dots before; the reference's range as a band."""
    looks, count = walk["looks"], len(walk["looks"][-1]["requests"])
    beside = [one["reference"] for one in looks[-1]["requests"] if one["reference"] is not None]
    if beside:
        axis.axhspan(min(beside), max(beside), color=ROLE_COLOURS["reference"], alpha=0.15, linewidth=0)
        axis.axhline(_mean(beside), color=ROLE_COLOURS["reference"], linestyle="--", linewidth=1)
    for place in range(count):
        colour = colormaps["viridis"](place / max(1, count - 1) * 0.92)
        seen = [(look["after"], look["requests"][place]) for look in looks]
        known = [(at, one) for at, one in seen if one["forgetting"] is not None]
        asked = [(at, one["forgetting"]) for at, one in known if one["asked"]]
        early = [(at, one["forgetting"]) for at, one in known if not one["asked"]]
        axis.plot([at for at, _ in asked], [value for _, value in asked], color=colour, marker="o", markersize=3.5)
        axis.plot(
            [at for at, _ in early],
            [value for _, value in early],
            color=colour,
            marker=".",
            linestyle="none",
            alpha=0.5,
        )
    axis.axhline(0, color=ROLE_COLOURS["original"], linewidth=0.8)
    axis.set_title(walk["method"].replace("_", " "), fontsize=11)
    _count_requests(axis)
    handles = [
        Line2D([], [], color=colormaps["viridis"](0.0), marker="o", markersize=3.5, label="first request"),
        Line2D([], [], color=colormaps["viridis"](0.92), marker="o", markersize=3.5, label="last request"),
        Line2D([], [], color="#777777", marker=".", linestyle="none", label="not asked for yet"),
        Line2D([], [], color=ROLE_COLOURS["reference"], linestyle="--", label="reference (never saw them)"),
    ]
    axis.legend(handles=handles, frameon=False, fontsize=7.5)


def _draw_rest(figure: Any, walks: Sequence[Json]) -> None:
    """Copies of what was asked for so far, Fréchet distance and retention, beside those of original and reference."""
    copies, distance, kept = figure.subplots(1, 3)
    for place, walk in enumerate(walks):
        colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
        style = {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 1.3}
        label, looks = walk["method"].replace("_", " "), walk["looks"]
        rates = [(look["after"], look["copies"]["unlearned"]["asked"]) for look in looks if look["copies"]]
        if rates:
            arms = [
                [rate["rate"] - rate["low"] for _, rate in rates],
                [rate["high"] - rate["rate"] for _, rate in rates],
            ]
            percent = [[100 * arm for arm in side] for side in arms]
            where = [at + 0.15 * place for at, _ in rates]
            copies.errorbar(where, [100 * rate["rate"] for _, rate in rates], yerr=percent, capsize=2, **style)
        _along(distance, looks, lambda look: look["drawn"].get("unlearned", {}).get("frechet"), style, label)
        _along(kept, looks, lambda look: _retention(look, "unlearned"), style, label)
    for role in ("original", "reference") if walks else ():
        _levels(copies, distance, kept, walks[0]["looks"], role)
    copies.set_ylabel("copies of what was asked for, %")
    distance.set_ylabel("Fréchet distance of drawn pictures")
    kept.set_ylabel("retention")
    for axis in (copies, distance, kept):
        _count_requests(axis)
    copies.legend(*distance.get_legend_handles_labels(), frameon=False, fontsize=7.5)


def _count_requests(axis: Axes) -> None:
    axis.set_xlabel("requests so far")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _along(axis: Axes, looks: Sequence[Json], of: Any, style: Mapping[str, Any], label: str) -> None:
    found = [(look["after"], of(look)) for look in looks if of(look) is not None]
    axis.plot([at for at, _ in found], [value for _, value in found], label=label, **style)


def _levels(copies: Axes, distance: Axes, kept: Axes, looks: Sequence[Json], role: str) -> None:
    """What a model that does not change has: copies of what was asked for so far grow with what is asked for."""
    colour = ROLE_COLOURS[role]
    rates = [(look["after"], look["copies"][role]["asked"]["rate"]) for look in looks if look["copies"]]
    copies.plot([at for at, _ in rates], [100 * rate for _, rate in rates], color=colour, linestyle=":", linewidth=1.2)
    found = looks[-1]["drawn"].get(role, {}).get("frechet")
    if found is not None:
        distance.axhline(found, color=colour, linestyle=":", linewidth=1.2, label=role)
    kept_by = _retention(looks[-1], role)
    if kept_by is not None:
        kept.axhline(kept_by, color=colour, linestyle=":", linewidth=1.2)


def _number(value: float | None, places: int = 2) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
