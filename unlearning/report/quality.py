"""table.md: a study as a page to read. Every number comes from the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from unlearning.report import attacked, whole
from unlearning.report.grid import grid, interval, origin

Json = Mapping[str, Any]

_SCORES = {
    "forgetting": "forgetting",
    "forgetting_trained": "forgetting, trained on",
    "forgetting_bounded": "forgetting, bounded",
    "retention": "retention",
    "sibling_retention": "siblings",
    "observer_auc": "observer's AUC",
}


def table(summary: Json) -> str:
    """The whole page, Markdown."""
    return "\n".join(_page(summary)) + "\n"


def _page(summary: Json) -> Iterator[str]:
    counts, target = summary["counts"], summary["plan"]["target"]
    yield f"# Study {summary['name']}\n"
    yield (
        f"Data set {summary['dataset']}; {counts['finished']} of {counts['points']} points finished, "
        f"{counts['failed']} failed. Forgetting and retention are measured on held-out images, {_measured(summary)}: "
        "0 = like the original, 1 = as wrong as the mean picture (retention: one minus that); bounded: no picture "
        "counts for more than that, so that a few hugely wrong ones buy nothing. "
        "Observer's AUC: how well a classifier tells the unlearned model's pictures of images to forget from the "
        "reference's of the same images (0.5 = cannot, 1 = always does). "
        "Mean over seeds, in brackets Student's 95 % interval where there is more than one seed. "
        f"Bold: meets the target (forgetting ≥ {target['forgetting']:g}, retention ≥ {target['retention']:g}, "
        f"siblings ≥ {target['sibling_retention']:g}). Hypervolume: the share of the box from forgetting "
        f"{summary['hypervolume']['worst'][0]:g}, retention {summary['hypervolume']['worst'][1]:g} to 1, 1 that a "
        "method's points dominate. Seconds are those of unlearning alone; memory is what the process, or on a GPU the "
        "tensors, grew by.\n"
    )
    for panel in summary["panels"]:
        yield from _panel(panel, target.get("reference_margin"))  # an older summary has none
    if summary["failed"]:
        yield "## Points that came to nothing\n"
        yield from (f"- `{one['id']}`: {one['sentence']}" for one in summary["failed"])
        yield ""
    yield from origin(summary)


def _measured(summary: Json) -> str:
    """What scores are made of; a panel that shows its models nothing has whole pictures only."""
    made_of = {point.get("measure", "mse") for point in summary.get("points", ())} or {"mse"}
    words = {"mse": "missing pixels", "surprise": "surprise at whole pictures where nothing is shown"}
    return ", or ".join(words[measure] for measure in sorted(made_of))


def _panel(panel: Json, margin: float | None) -> Iterator[str]:
    yield f"## {panel['family']}, forget {panel['forget']}, {panel['corruption']}\n"
    if panel["siblings"]:
        yield f"Siblings: {', '.join(panel['siblings'])}.\n"
    yield from _ceiling(panel["ceiling"])
    yield from _control(panel.get("observer_auc_original"))
    rows = [_reference(panel["reference"]), *(row for line in panel["methods"] for row in _rows(line))]
    head = ("method", *_SCORES.values(), "seeds", "steps", "seconds", "memory, MiB", "hypervolume")
    yield from grid(head, [row for row in rows if row])
    yield ""
    yield from attacked.table(panel)
    yield from whole.table(panel, margin)


def _ceiling(found: Json | None) -> Iterator[str]:
    if found is None:
        return
    told = f"A classifier of T(x), {found['images']} held-out images: top-1 {found['top_1']:.3f}"
    told += f", balanced accuracy {found['balanced_accuracy']:.3f}"
    if found["auc"] is not None:
        told += (
            f", forget against the rest AUC {found['auc']:.3f}. **Ceiling: it finds {found['recall']:.3f} of the "
            f"forget images where {found['false_positive_rate']:.0%} of the retained are taken for them.** Forgetting "
            "that has to recognise what it was not trained on cannot do better than the best classifier; this one is "
            "an estimate from below"
        )
    yield told + ".\n"


def _control(found: Json | None) -> Iterator[str]:
    """What the observer makes of a model that forgot nothing: an AUC below is worth as much as this is above 0.5."""
    if found is not None:
        yield (
            f"The observer tells the original from the reference with AUC {found['value']:.3f} ({found['low']:.3f} to "
            f"{found['high']:.3f}, {found['images']} images).\n"
        )


def _reference(found: Json | None) -> list[str]:
    if found is None:
        return []
    scores = [f"{found[name]['value']:.3f}" if found.get(name) else "" for name in _SCORES]
    return ["reference (never saw it)", *scores, "", "", "", "", ""]


def _rows(line: Json) -> Iterator[list[str]]:
    for place, point in enumerate(line["points"]):
        value = "" if line["varied"] is None else f", {line['varied'].rpartition('.')[2]} {point['value']}"
        name = f"{line['method']}{value}"
        yield [
            f"**{name}**" if point["meets_target"] else name,
            *(interval(point.get(score)) for score in _SCORES),  # an older summary has fewer
            str(len(point["seeds"])),
            str(point["steps"]),
            f"{point['seconds']['mean']:.0f}",
            "" if point["memory_mib"] is None else f"{point['memory_mib']['mean']:.0f}",
            f"{line['hypervolume']:.3f}" if place == 0 else "",
        ]
