"""Attacks in a line each, on entries whose numbers are known."""

from __future__ import annotations

from typing import Any

from unlearning.report import attacked

ROLES = ("original", "unlearned", "reference")


def curve(kind: str = "relearn", signal: float = 0.3, **recipe: Any) -> dict[str, Any]:
    lines = {"original": [0.0, 0.1, 0.2], "unlearned": [0.9, 0.6, 0.7], "reference": [0.8, 0.85, 0.95]}
    return {
        "kind": kind,
        "finding": "curve",
        "recipe": {"kind": kind, **recipe},
        "signal": {"value": signal, "low": 0.0, "high": 1.0},
        **{role: {"forgetting": line} for role, line in lines.items()},
    }


def told(auc: float, **more: Any) -> dict[str, Any]:
    sides = {role: {"separations": [{"auc": auc}, {"auc": 0.99}]} for role in ROLES}
    return {"kind": "exposure", "finding": "told", "recipe": {"kind": "exposure"}, "signal": None, **sides, **more}


def test_a_curve_is_told_where_forgetting_is_least_after_some_effort() -> None:
    (line,) = attacked.headlines({"attacks": [curve()]})
    assert (line["start"], line["original"], line["unlearned"], line["reference"]) == (0.9, 0.1, 0.6, 0.85)
    assert (line["name"], line["status"], line["blind"]) == ("relearn", None, False)


def test_variants_are_named_by_what_they_differ_in() -> None:
    both = [curve(source="retain", part="all", images=None), curve(source="forget", part="all", images=10)]
    lines = attacked.headlines({"attacks": [*both, {"kind": "probe", "not_made": "too few images"}]})
    assert [line["name"] for line in lines] == ["relearn, retain", "relearn, forget, images 10"]


def test_a_point_nobody_can_speak_of_is_passed_over() -> None:
    entry = curve()
    entry["unlearned"]["forgetting"] = [0.9, None, 0.7]
    assert attacked.headlines({"attacks": [entry]})[0]["unlearned"] == 0.7
    entry["unlearned"]["forgetting"] = [0.9, None, None]
    assert attacked.headlines({"attacks": [entry]})[0]["unlearned"] is None


def test_the_table_has_a_column_an_attack_and_marks_what_a_gate_refused() -> None:
    criteria = [{"name": "attack_relearn", "status": "fail"}]
    report = {"attacks": [curve(), told(0.7), told(0.5, kind="membership", blind=True)], "criteria": criteria}
    seeds = attacked.over_seeds([attacked.headlines(report), attacked.headlines({"attacks": [curve(), told(0.8)]})])
    assert seeds["exposure"]["unlearned"] == 0.75
    assert (seeds["relearn"]["seeds"], seeds["relearn"]["refused"]) == (2, False)  # one of two is no majority
    refused = attacked.over_seeds([attacked.headlines(report)])
    point = {"value": 0.25, "attacks": refused}
    panel = {"methods": [{"method": "noise", "varied": "unlearn.merge.forget_weight", "points": [point]}]}
    lines = list(attacked.table(panel))
    assert lines[1] == "| method | relearn | exposure | membership |"
    assert lines[3] == "| noise, forget_weight 0.25 | **0.90 → 0.60 (0.85)** | 0.70 (0.70) | *blind* |"
    assert list(attacked.table({"methods": [{"method": "noise", "varied": None, "points": [{"value": None}]}]})) == []
