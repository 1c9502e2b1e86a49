"""Several reports side by side: what compare.json says, and compare.html shows. All of it from report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unlearning import files
from unlearning.report import standing_view
from unlearning.report.attacked import glance

Json = Mapping[str, Any]

SCORES = (
    "forgetting",
    "forgetting_trained",
    "forgetting_bounded",
    "retention",
    "retention_trained",
    "sibling_retention",
    "reference_forgetting",
    "reference_retention",
    "observer_auc",
)
_SAME = {  # what must be alike for numbers to stand beside one another: name -> what it is
    "goal": "the goal of the requests",
    "measure": "what errors are measured in",
    "corruption": "the corruption",
    "seeds": "the draws of the corruption",
    "sets": "the images",
    "original": "the weights of the original",
    "reference": "the weights of the reference",
}


@dataclass(frozen=True, slots=True)
class Told:
    """One run: what it is called here, its report, and digests of the images of each set."""

    name: str
    report: Json
    images: Mapping[str, str] = field(default_factory=dict)


def unlike(runs: Sequence[Told]) -> dict[str, str]:
    """What is not the same of all runs, and should be: name -> in words."""
    return {
        name: words for name, words in _SAME.items() if len({files.canonical(_identity(run)[name]) for run in runs}) > 1
    }


def compared(runs: Sequence[Told]) -> dict[str, Any]:
    """The summary: runs, criteria, scores and attacks, a column a run; None where a run has none."""
    return {
        "schema": "comparison/1",
        "runs": [_run(run) for run in runs],
        "unlike": unlike(runs),
        "criteria": _criteria(runs),
        "scores": _scores(runs),
        "attacks": _attacks(runs),
    }


def _identity(run: Told) -> dict[str, Any]:
    report = run.report
    sets = {
        name: [found["images"], sorted(found.get(f"{report.get('measure', 'mse')}_by_class", {})), run.images.get(name)]
        for name, found in report["sets"].items()
    }
    weights = report.get("weights", {})
    return {
        "goal": report["goal"],
        "measure": report.get("measure", "mse"),
        "corruption": dict(report["corruption"]),
        "seeds": list(report["seeds"]),
        "sets": sets,
        "original": weights.get("original"),
        "reference": weights.get("reference"),
    }


def _run(run: Told) -> dict[str, Any]:
    report, way = run.report, run.report.get("method", {})
    return {
        "name": run.name,
        "batch": report["batch"],
        "model": report["model"],
        "goal": report["goal"],
        "verdict": report["verdict"],
        "method": (way.get("method") or {}).get("kind"),
        "steps": (way.get("budget") or {}).get("steps"),
        "weights": report.get("weights", {}).get("unlearned"),
        "standing": standing_view.scores(report),
        "reference_standing": standing_view.scores(report, "reference_"),
    }


def _criteria(runs: Sequence[Told]) -> list[dict[str, Any]]:
    rows = [{row["name"]: row for row in run.report["criteria"]} for run in runs]
    parts = ("status", "blocking", "value", "low", "high", "bound")
    return [
        {
            "name": name,
            "runs": [None if name not in one else {part: one[name].get(part) for part in parts} for one in rows],
        }
        for name in dict.fromkeys(name for one in rows for name in one)
    ]


def _scores(runs: Sequence[Told]) -> list[dict[str, Any]]:
    found = {name: [run.report["scores"].get(name) for run in runs] for name in SCORES}
    return [{"name": name, "runs": row} for name, row in found.items() if any(one is not None for one in row)]


def _attacks(runs: Sequence[Told]) -> list[dict[str, Any]]:
    """One row a kind: each run's worst variant."""
    rows = [{row["kind"]: row for row in glance(run.report)} for run in runs]
    titles = {kind: row["title"] for one in rows for kind, row in one.items()}
    return [
        {"kind": kind, "title": title, "runs": [_headline(one.get(kind)) for one in rows]}
        for kind, title in titles.items()
    ]


def _headline(row: Json | None) -> dict[str, Any] | None:
    if row is None:
        return None
    line = row["line"]
    if line is None:
        return {"not_made": row["not_made"]}
    parts = ("name", "finding", "start", "original", "unlearned", "reference", "signal", "blind", "status")
    return {part: line[part] for part in parts}
