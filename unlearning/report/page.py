"""report.html: one file, nothing fetched, readable on paper and in the dark. Every number comes from report.json."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from unlearning.report import attack_view, attacked, charts, figures, standing_view
from unlearning.report.charts import Points
from unlearning.report.figures import SET_NAMES, Rows

_ROLES = ("original", "unlearned", "reference", "mean_picture")
_ROW_ORDER = ("what it sees", "original", "unlearned", "reference", "truth")
_SUBJECTS = 12  # people whose bars are shown
_METRICS = {
    "mse": {
        "mse": "MSE",
        "psnr": "PSNR, dB",
        "ssim": "SSIM",
        "frechet": "Frechet distance",
        "kid": "KID",
    },
    "surprise": {"surprise": "surprise"},
}
_MORE_METRICS = {  # columns only where a report has them
    "lpips": "perceptual distance",
    "similarity": "feature similarity",
    "precision": "precision",
    "recall": "recall",
    "inception_score": "inception score",
    "copy": "copy similarity",
}
_SCORES = {
    "forgetting": ("Forgetting", "0 = draws it like the original, 1 = knows nothing of it"),
    "forgetting_trained": ("Forgetting, images training saw", "the same, on the forget set itself"),
    "retention": ("Retention", "1 = draws what must be kept like the original"),
    "retention_trained": ("Retention, images training saw", "the same, on the retain set itself"),
    "reference_forgetting": ("The reference's forgetting", "a model retrained without the forget set: never saw it"),
    "reference_forgetting_trained": ("The reference's forgetting, forget set", "the same, on the forget set itself"),
    "reference_retention": ("The reference's retention", "how far retraining alone moves what is kept"),
}
_LATER_SCORES = {  # not in every report: siblings where some are named, the others since they exist
    "sibling_retention": ("Retention of siblings", "the same, on the kept classes that look like the forgotten ones"),
    "reference_sibling_retention": ("The reference's, of siblings", "how far retraining alone moves those"),
    "class_retention": ("Retention, worst class", "the same, on the kept class that lost most"),
    "earlier_forgetting": (
        "Forgetting of earlier batches", "0 = draws them like the models that knew them, 1 = knows nothing of them"
    ),
    "reference_earlier_forgetting": ("The reference's, of earlier batches", "what never having seen them comes to"),
    "forgetting_bounded": (
        "Forgetting, bounded", "no picture counts for more than knowing nothing of it; read it beside the reference's"
    ),
    "forgetting_trained_bounded": ("Forgetting, bounded, images training saw", "the same, on the forget set itself"),
    "reference_forgetting_bounded": ("The reference's forgetting, bounded", "what never having seen it comes to"),
    "reference_forgetting_trained_bounded": (
        "The reference's forgetting, bounded, forget set", "the same, on the forget set itself"
    ),
    "observer_auc": (
        "An observer tells it from the reference", "AUC, of pictures of images to forget: 0.5 = cannot, 1 = always does"
    ),
    "observer_auc_original": (
        "An observer tells the original from the reference", "the same of the original: what there was to tell at all"
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Aside:
    """What the page shows beside report.json."""

    shown: Mapping[str, Rows] = field(default_factory=dict)  # pictures that may be shown, by set and row
    drawn: Rows = field(default_factory=dict)  # those from nothing, by model
    history: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)  # lines of training logs
    inputs: Mapping[str, str] = field(default_factory=dict)  # sha256 of what the report was made from
    code: Mapping[str, str | bool] = field(default_factory=dict)
    points: Points = field(default_factory=dict)  # of the embedding map
    timings: Sequence[tuple[str, float, float]] = ()  # what, seconds, of these for preparation
    machine: Mapping[str, Any] = field(default_factory=dict)  # that measured
    not_shown: Sequence[str] = ()  # clauses


def render(report: Mapping[str, Any], aside: Aside) -> str:
    """The page, HTML."""
    measure = figures.error(report)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            set_names=SET_NAMES,
            roles=_ROLES,
            measure=measure,
            error_name=figures.ERROR_NAMES[measure],
            metrics=_columns(report),
            scores={name: (*words, report["scores"].get(name)) for name, words in _titles(report).items()},
            glance=attacked.glance(report),
            standing=standing_view.plots(report),
            grids={name: _strips(rows) for name, rows in aside.shown.items()},
            hidden=[name for name in report["sets"] if name not in aside.shown],
            classes=_bars(figures.class_errors(report)),
            subjects=_subjects(report),
            whole=report.get("whole_pictures", {}),
            drawn=_strips(aside.drawn),
            attacks=attack_view.details(report),
            not_made=attack_view.not_made(report),
            maps=_maps(aside.points),
            maps_sets=list(next(iter(aside.points.values()), {})),
            curves={name: _curve(lines) for name, lines in aside.history.items() if len(lines) > 1},
            aside=aside,
        )
    )


def environment() -> Environment:
    """Templates of this folder: every value is escaped, and one that is missing is an error."""
    return Environment(
        loader=PackageLoader("unlearning.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _titles(report: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What each score is called; the later ones only where the report has them, the observer's only if it looked."""
    later = {name: words for name, words in _LATER_SCORES.items() if name in report["scores"]}
    if figures.error(report) == "mse":
        return {**_SCORES, **later}
    return {
        name: (title, meaning.replace("draws", "knows"))
        for name, (title, meaning) in {**_SCORES, **later}.items()
        if not name.startswith("observer")
    }


def _columns(report: Mapping[str, Any]) -> dict[str, str]:
    """Name of a metric -> its title: the usual ones, and whatever else was asked for, measured or not."""
    usual = _METRICS[figures.error(report)]
    if figures.error(report) != "mse":
        return usual
    measured = {name for found in report["sets"].values() for by_role in found["metrics"].values() for name in by_role}
    kinds = {**usual, **_MORE_METRICS}
    more = {}
    for name in sorted((measured | set(report.get("not_measured", {}))) - set(usual)):
        kind = max((kind for kind in kinds if name == kind or name.startswith(f"{kind}_")), key=len, default=None)
        through = "" if kind in (None, name) else f", {name.removeprefix(f'{kind}_').replace('_', ' ')}"
        more[name] = name.replace("_", " ") if kind is None else kinds[kind] + through
    return {**usual, **more}


def _strips(rows: Rows) -> dict[str, tuple[str, int]]:
    """Row label -> (data URI, number of pictures)."""
    return {
        label: ("data:image/png;base64," + base64.b64encode(figures.strip(rows[label])).decode(), len(rows[label]))
        for label in _ROW_ORDER
        if label in rows
    }


def _bars(errors: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Per class: each role's error and its width in per cent of the longest bar."""
    longest = max((value for by_role in errors.values() for value in by_role.values()), default=0) or 1.0
    return [
        {
            "label": label,
            "bars": [(role, by_role[role], 100 * by_role[role] / longest) for role in _ROLES if role in by_role],
        }
        for label, by_role in errors.items()
    ]


def _subjects(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of people rather than classes: {bars, others}. Those who paid most, by number, so that no page names anybody."""
    by_subject = f"{figures.error(report)}_by_subject"
    sets = [
        name
        for name in ("forget_holdout", "forget", "siblings", "holdout")
        if by_subject in report["sets"].get(name, {})
    ]
    everybody = [
        (f"{SET_NAMES[name]}, {place}", by_role)
        for name in sets
        for place, by_role in enumerate(report["sets"][name][by_subject].values(), 1)
        if "unlearned" in by_role and "original" in by_role
    ]
    if not everybody:
        return None
    paid = sorted(everybody, key=lambda one: one[1]["original"] - one[1]["unlearned"])
    return {"bars": _bars(dict(paid[:_SUBJECTS])), "others": max(0, len(paid) - _SUBJECTS)}


def _maps(points: Points) -> dict[str, Any]:
    """Model -> chart; empty where no map was made."""
    colours = {name: f"var(--{name})" for by_set in points.values() for name in by_set}
    return {role: charts.map_of(by_set, colours, f"embedding map, {role}") for role, by_set in points.items()}


def _curve(lines: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Points of the forget and retain loss for an SVG polyline of 600 x 120."""
    last = max(line["step"] for line in lines)
    voices = {}
    for voice in ("forget", "retain"):
        values = [(line["step"], line[voice]) for line in lines if line.get(voice) is not None]
        top = max((value for _, value in values), default=0)
        if top > 0:
            points = " ".join(f"{600 * step / last:.1f},{118 - 112 * value / top:.1f}" for step, value in values)
            voices[voice] = {"points": points, "first": values[0][1], "last": values[-1][1]}
    return {"steps": int(last), "voices": voices}
