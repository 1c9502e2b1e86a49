"""report.html: one file, nothing fetched, readable on paper and in the dark. Every number comes from report.json."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from unlearning.report import figures
from unlearning.report.figures import ROLE_COLOURS, SET_NAMES, Rows

_ROLES = ("original", "unlearned", "reference", "mean_picture")
_ROW_ORDER = ("what it sees", "original", "unlearned", "reference", "truth")
_ATTACKED = ("original", "unlearned", "reference")
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


def render(
    report: Mapping[str, Any],
    shown: Mapping[str, Rows],
    history: Mapping[str, Sequence[Mapping[str, float]]],
    inputs: Mapping[str, str],
    code: Mapping[str, str | bool],
    drawn: Rows | None = None,
) -> str:
    """The page. `shown` are the pictures that may be shown, by set and row; `drawn` those from nothing, by model."""
    measure = figures.error(report)
    environment = Environment(
        loader=PackageLoader("unlearning.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        set_names=SET_NAMES,
        roles=_ROLES,
        colours=ROLE_COLOURS,
        measure=measure,
        error_name=figures.ERROR_NAMES[measure],
        metrics=_columns(report),
        scores={name: (*words, report["scores"].get(name)) for name, words in _titles(report).items()},
        grids={name: _strips(rows) for name, rows in shown.items()},
        hidden=[name for name in report["sets"] if name not in shown],
        classes=_bars(figures.class_errors(report)),
        whole=report.get("whole_pictures", {}),
        drawn=_strips(drawn or {}),
        attacks=[_attack(found) for found in report.get("attacks", ()) if found.get("finding") == "curve"],
        tellings=[found for found in report.get("attacks", ()) if found.get("finding") == "told"],
        not_made=[found for found in report.get("attacks", ()) if "not_made" in found],
        curves={name: _curve(lines) for name, lines in history.items() if len(lines) > 1},
        inputs=inputs,
        code=code,
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


def _attack(found: Mapping[str, Any]) -> dict[str, Any]:
    """A table of forgetting against effort, and the same as SVG polylines of 600 x 120 with lines at 0 and 1."""
    efforts = found["unlearned"]["effort"]
    values = {role: found[role]["forgetting"] for role in _ATTACKED}
    known: list[float] = [value for line in values.values() for value in line if value is not None]
    top, bottom, last = max([1.0, *known]), min([0.0, *known]), max(efforts[-1], 1e-9)

    def height(value: float) -> float:
        return 118 - 114 * (value - bottom) / (top - bottom)

    return {
        "kind": found["kind"],
        "fields": {name: value for name, value in found["recipe"].items() if name != "kind"},
        "on": found["set"],
        "images": found["images"],
        "unit": found["effort_unit"],
        "efforts": efforts,
        "values": values,
        "differences": [
            None if None in pair else pair[0] - pair[1]
            for pair in zip(values["unlearned"], values["reference"], strict=True)
        ],
        "places": found.get("places", ()),
        "signal": found["signal"],
        "levels": [height(0.0), height(1.0)],
        "points": {
            role: " ".join(
                f"{600 * effort / last:.1f},{height(value):.1f}"
                for effort, value in zip(efforts, line, strict=True)
                if value is not None
            )
            for role, line in values.items()
        },
    }


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
