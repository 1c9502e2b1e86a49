"""Attacks as a page shows them: every one with its chart, its table and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from unlearning.report import charts
from unlearning.report.attacked import headlines, titled, tries
from unlearning.report.charts import ROLES, Spread

Json = Mapping[str, Any]


def details(report: Json) -> list[dict[str, Any]]:
    """Every attack that was made, kind by kind: {title, open, entries}; open where its gate does not pass."""
    made = [entry for entry in report.get("attacks", ()) if "not_made" not in entry]
    lines = headlines(report)
    return [
        {
            "title": titled(kind),
            "tries": tries(report, kind),
            "open": any(line["status"] not in (None, "pass") for line in lines if line["kind"] == kind),
            "entries": [_entry(entry, line) for entry, line in zip(made, lines, strict=True) if entry["kind"] == kind],
        }
        for kind in dict.fromkeys(entry["kind"] for entry in made)
    ]


def separations(found: Json, role: str) -> dict[str, Spread | None]:
    """AUC and interval of every score, by its name."""
    return {one["name"]: charts.spread(one, "auc") for one in found[role]["separations"]}


def _entry(entry: Json, line: Json) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "finding": entry["finding"],
        "name": line["name"].replace("_", " "),
        "signal": entry["signal"],
        "fields": {name: value for name, value in entry["recipe"].items() if name != "kind"},
        "numbers": _numbers(entry),
    }
    view = {"curve": _curve, "told": _told, "epsilon": _epsilon}.get(entry["finding"])
    return shown if view is None else shown | view(entry)


def _numbers(entry: Json) -> dict[str, dict[str, float | None]]:
    """What else was found, by name and model."""
    by_role = {voice.name: entry.get(voice.name, {}).get("numbers", {}) for voice in ROLES}
    names = dict.fromkeys(name for numbers in by_role.values() for name in numbers)
    return {name: {role: numbers.get(name) for role, numbers in by_role.items()} for name in names}


def _curve(entry: Json) -> dict[str, Any]:
    values = {voice.name: entry[voice.name]["forgetting"] for voice in ROLES}
    pairs = zip(values["unlearned"], values["reference"], strict=True)
    return {
        "on": entry["set"],
        "images": entry["images"],
        "unit": entry["effort_unit"],
        "heads": list(entry["places"]) if entry.get("places") else [f"{at:g}" for at in entry["unlearned"]["effort"]],
        "values": values,
        "differences": [None if None in pair else pair[0] - pair[1] for pair in pairs],
        "chart": _places(entry) if entry.get("places") else _efforts(entry),
    }


def _efforts(entry: Json) -> Markup:
    label = f"forgetting against effort, {titled(entry['kind'])}"
    return charts.curves([(voice, entry[voice.name]) for voice in ROLES], entry["effort_unit"], label)


def _places(entry: Json) -> Markup:
    """Where effort is a place in a list: a row a place."""
    rows = [
        (name, {voice.name: _point(entry[voice.name], place) for voice in ROLES})
        for place, name in enumerate(entry["places"])
    ]
    return charts.forest(rows, ROLES, (0.0, 1.0), "forgetting", f"forgetting, {titled(entry['kind'])}")


def _point(line: Json, place: int) -> Spread | None:
    value = line["forgetting"][place]
    if value is None:
        return None
    low, high = (line[end][place] if line.get(end) else None for end in ("low", "high"))
    return value, low, high


def _told(entry: Json) -> dict[str, Any]:
    by_role = {voice.name: separations(entry, voice.name) for voice in ROLES}
    names = list(by_role["unlearned"])
    rows = [(name, {role: found.get(name) for role, found in by_role.items()}) for name in names]
    return {
        "groups": entry["groups"],
        "two_sided": entry.get("two_sided", False),
        "beside": entry.get("beside", "reference"),
        "control": entry.get("control"),
        "blind": bool(entry.get("blind", False)),
        "scores": [
            (one["name"], {voice.name: entry[voice.name]["separations"][place] for voice in ROLES})
            for place, one in enumerate(entry["unlearned"]["separations"])
        ],
        "chart": charts.forest(rows, ROLES, (0.5,), "AUC (0.5 = a coin)", f"AUC, {titled(entry['kind'])}"),
    }


def _epsilon(entry: Json) -> dict[str, Any]:
    """How far the unlearned models, and their originals, lie from retrained ones; and what equal models show."""
    parts = {"originals": "original", "unlearned": "epsilon", "groups of equal models": "floor"}
    score = entry["score"]
    return {
        "images": entry["images"],
        "models": entry["models"],
        "epsilons": {title: entry[part] for title, part in parts.items()},
        "facts": {
            "limit, log(N - 1): nothing above can be seen": entry["limit"],
            "chance": entry["chance"],
            "p-value, of models dealt into groups anew": entry["p_value"],
            "score: forgetting": score["forgetting"],
            "score: retention ratio": score["retention_ratio"],
            "score, of the competition": score["final"],
        },
        "blind": bool(entry.get("blind", False)),
    }


def not_made(report: Json) -> Sequence[tuple[str, str]]:
    """(kind in words, why) of what was not made."""
    return [(titled(one["kind"]), one["not_made"]) for one in report.get("attacks", ()) if "not_made" in one]
