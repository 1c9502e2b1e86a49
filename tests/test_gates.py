"""Every bound at its edge, every missing number, and every way in which a report may be about something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from unlearning import gates
from unlearning.gates import Criterion, Verdict
from unlearning.rules import Advice, Bound, Gates, Threshold

CHECKPOINTS = {"original": "o" * 64, "reference": "r" * 64, "unlearned": "u" * 64}


def bound(value: float, source: str = "of this test") -> Threshold:
    return Threshold(value=value, source=source)


BOUNDS = Gates(
    forgetting_at_least=bound(0.9, "forgetting's source"),
    retention_at_least=bound(0.8, "retention's source"),
    over_forgetting_margin=bound(0.2, "margin's source"),
    reference_distance_at_most=bound(0.1, "distance's source"),
)


def report(**changes: Any) -> dict[str, Any]:
    scores = {
        "retention": {"value": 0.95, "low": 0.9, "high": 0.99},
        "forgetting": {"value": 0.92, "low": 0.91, "high": 0.93},
        "forgetting_trained": {"value": 0.97},
        "reference_forgetting": {"value": 0.9},
        "reference_forgetting_trained": {"value": 0.95},
        "sibling_retention": {"value": 0.7},
        "class_retention": {"value": 0.6},
    }
    whole = {
        "goal": "unreconstructable",
        "checkpoints": dict(CHECKPOINTS),
        "weights": {"original": "a", "unlearned": "b"},
        "finite": True,
        "scores": {**scores, **changes.pop("scores", {})},
    }
    return {**whole, **changes}


def judged(said: Mapping[str, Any], bounds: Gates = BOUNDS, **more: Any) -> Verdict:
    return gates.evaluate(said, bounds, CHECKPOINTS, **more)


def row(verdict: Verdict, name: str) -> Criterion:
    (found,) = (one for one in verdict.criteria if one.name == name)
    return found


def with_bounds(**more: Any) -> Gates:
    return BOUNDS.model_copy(update=more)


def test_a_report_that_holds_passes_and_says_every_bound() -> None:
    verdict = judged(report())
    assert (verdict.passed, verdict.word, verdict.goal) == (True, "passed", "unreconstructable")
    what = "of the way from the original's picture to knowing nothing, on images to forget"
    assert verdict.criteria == (
        Criterion(
            "integrity",
            "pass",
            True,
            None,
            None,
            None,
            "",
            "what a report must be to be judged at all",
            "the report is about these checkpoints, whose weights moved and are finite",
        ),
        Criterion(
            "retention",
            "pass",
            True,
            0.95,
            0.9,
            0.99,
            ">= 0.8",
            "retention's source",
            "0.950 (>= 0.8) kept on held-out images",
        ),
        Criterion(
            "forgetting", "pass", True, 0.92, 0.91, 0.93, ">= 0.9", "forgetting's source", f"0.920 (>= 0.9) {what}"
        ),
        Criterion(
            "forgetting_trained",
            "pass",
            True,
            0.97,
            None,
            None,
            ">= 0.9",
            "forgetting's source",
            f"0.970 (>= 0.9) {what} that training saw",
        ),
        Criterion(
            "over_forgetting",
            "pass",
            False,
            0.92 - 1.0,
            None,
            None,
            "<= 0.2",
            "margin's source",
            "-0.080 (<= 0.2) beyond both knowing nothing (1) and the reference: a picture that wrong betrays what was "
            "forgotten",
        ),
    )
    assert verdict.as_rows()[1]["sentence"] == "0.950 (>= 0.8) kept on held-out images"
    assert [one["name"] for one in verdict.as_rows()] == [one.name for one in verdict.criteria]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"checkpoints": None}, "the report is not about the original checkpoint that lies in the batch"),
        ({"checkpoints": {**CHECKPOINTS, "reference": "x"}}, "is not about the reference checkpoint"),
        ({"checkpoints": {**CHECKPOINTS, "unlearned": "x"}}, "is not about the unlearned checkpoint"),
        ({"weights": None}, "the unlearned weights are the original's: nothing was unlearned"),
        ({"weights": {"original": "a", "unlearned": "a"}}, "nothing was unlearned"),
        ({"weights": {"original": "a", "unlearned": ""}}, "nothing was unlearned"),
        ({"finite": 1}, "a reconstruction holds a number that is not finite"),
        ({"finite": False}, "not finite"),
    ],
)
def test_a_report_about_something_else_is_refused(changes: dict[str, Any], sentence: str) -> None:
    verdict = judged(report(**changes))
    found = row(verdict, "integrity")
    assert (verdict.passed, verdict.word, found.status, found.blocking) == (False, "refused", "fail", True)
    assert sentence in found.sentence


@pytest.mark.parametrize("role", ["original", "reference", "unlearned"])
def test_a_checkpoint_that_nobody_has_is_no_agreement(role: str) -> None:
    there = {name: sha256 for name, sha256 in CHECKPOINTS.items() if name != role}
    for said, lies in ((there, there), ({**there, role: ""}, {**there, role: ""})):
        found = row(gates.evaluate(report(checkpoints=said), BOUNDS, lies), "integrity")
        assert (found.status, role in found.sentence) == ("fail", True)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("retention", 0.8, "pass"),
        ("retention", 0.799, "fail"),
        ("retention", 1, "pass"),
        ("forgetting", 0.9, "pass"),
        ("forgetting", 0.899, "fail"),
        ("forgetting_trained", 0.899, "fail"),
        ("retention", None, "not_measured"),
        ("retention", True, "not_measured"),
        ("retention", "0.9", "not_measured"),
        ("retention", float("nan"), "not_measured"),
        ("retention", float("inf"), "not_measured"),
    ],
)
def test_a_bound_holds_at_its_edge_and_no_number_holds_none(name: str, value: Any, status: str) -> None:
    verdict = judged(report(scores={name: {"value": value}}))
    found = row(verdict, name)
    assert (found.status, verdict.passed) == (status, status == "pass")
    if status == "not_measured":
        assert (found.sentence, found.value) == ("not measured", None)


@pytest.mark.parametrize("scores", [None, [], {"retention": 1.0}])
def test_scores_that_are_none_measure_nothing(scores: Any) -> None:
    verdict = judged({**report(), "scores": scores})
    assert not verdict.passed
    assert {row(verdict, name).status for name in ("retention", "forgetting", "over_forgetting")} == {"not_measured"}


def test_over_forgetting_is_told_and_refuses_nothing() -> None:
    for forgetting, reference, over in ((1.3, 0.9, 1.3 - 1.0), (1.3, 1.25, 1.3 - 1.25), (1.3, None, None)):
        said = report(scores={"forgetting": {"value": forgetting}, "reference_forgetting": {"value": reference}})
        verdict = judged(said)
        found = row(verdict, "over_forgetting")
        assert (found.value, found.blocking, verdict.passed) == (over, False, True)
    assert row(judged(report(scores={"forgetting": {"value": None}})), "over_forgetting").value is None


@pytest.mark.parametrize(
    ("ours", "status", "side"),
    [
        (0.95, "pass", "forgets as much as the reference"),
        (1.0, "pass", "over-forgets, more than the reference"),
        (1.06, "fail", "over-forgets, more than the reference"),
        (0.84, "fail", "forgets less than the reference"),
    ],
)
def test_never_seen_is_judged_by_the_distance_from_the_reference(ours: float, status: str, side: str) -> None:
    verdict = judged(report(goal="never_seen", scores={"forgetting_trained": {"value": ours}}))
    distance, over = row(verdict, "reference_distance"), row(verdict, "over_forgetting")
    assert [one.name for one in verdict.criteria] == ["integrity", "retention", "reference_distance", "over_forgetting"]
    assert (distance.status, distance.blocking, distance.bound) == (status, True, "<= 0.1")
    assert distance.value == abs(ours - 0.95)
    assert distance.sentence.endswith(
        f"between the unlearned model's forgetting and that of the reference, either way: it {side}"
    )
    assert (over.value, over.blocking, over.bound) == (ours - 0.95, False, "<= 0.2")
    assert over.sentence.endswith(
        "beyond the reference's forgetting: over-forgetting, by which others can tell what was deleted"
    )
    assert verdict.passed == (status == "pass")


def test_never_seen_without_a_reference_is_not_measured() -> None:
    verdict = judged(report(goal="never_seen", scores={"reference_forgetting_trained": None}))
    assert (row(verdict, "reference_distance").status, verdict.passed) == ("not_measured", False)


def test_a_goal_that_is_none_is_refused() -> None:
    verdict = judged(report(goal="forgotten"))
    found = row(verdict, "goal")
    assert (verdict.passed, found.status) == (False, "fail")
    assert found.sentence == "the report's goal is 'forgotten': unreconstructable or never_seen is right"


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("sibling_retention", "the classes that look like the forgotten ones"),
        ("class_retention", "the kept class that lost most"),
    ],
)
@pytest.mark.parametrize("blocking", [True, False])
def test_retention_of_some_refuses_only_where_it_was_asked_to(name: str, whose: str, blocking: bool) -> None:
    advice = Advice(value=0.9, source="some's source", blocking=blocking)
    verdict = judged(report(), with_bounds(**{f"{name}_at_least": advice}))
    found = row(verdict, name)
    assert (found.status, found.blocking, found.source, found.bound) == ("fail", blocking, "some's source", ">= 0.9")
    assert found.sentence.endswith(f"kept on held-out images of {whose}")
    assert verdict.passed != blocking


def earlier(**batches: Any) -> dict[str, Any]:
    return {"batches": [{"batch": key, **said} for key, said in batches.items()]}


def sets(**drops: Any) -> dict[str, Any]:
    return {"sets": {name: {"drop": {"value": drop}} for name, drop in drops.items()}}


def test_of_earlier_batches_the_one_of_which_most_came_back_is_judged() -> None:
    block = earlier(b1=sets(forget=0.02, forget_holdout=0.05), b2=sets(forget=0.1))
    found = row(judged(report(earlier=block), earlier=["b1", "b2"]), "earlier")
    assert (found.status, found.value, found.bound, found.blocking) == ("pass", 0.1, "<= 0.1", True)
    assert found.sentence == "0.100 (<= 0.1) of what batch b2 had forgotten when it was certified came back (forget)"
    worse = earlier(b1=sets(forget=0.02, forget_holdout=0.11), b2=sets(forget=0.1))
    verdict = judged(report(earlier=worse))  # a batch that the report tells of counts, whoever asked for it
    assert (row(verdict, "earlier").value, verdict.passed) == (0.11, False)
    assert "batch b1" in row(verdict, "earlier").sentence
    assert row(judged(report(earlier=earlier(b1=sets(forget=-0.3)))), "earlier").value == -0.3
    nothing = earlier(b1=sets(forget=0.0), b2=sets(forget=0.5))
    assert row(judged(report(earlier=nothing)), "earlier").value == 0.5
    assert "earlier" not in {one.name for one in judged(report()).criteria}


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (None, "the report does not say"),
        ([], "the report does not say"),
        ({"batches": {"b1": 1}}, "the report does not say"),
        ({"batches": [7]}, "the report does not say"),
        (earlier(b1={"not_measured": "no images"}), "no images"),
        (earlier(b1={"sets": {"forget": None}}), "the report does not say"),
        (earlier(b1={"sets": [1]}), "the report does not say"),
        (earlier(b1=sets(forget=0.0, forget_holdout=None)), "the report does not say"),
    ],
)
def test_an_earlier_batch_that_was_not_measured_refuses(block: Any, why: str) -> None:
    verdict = judged(report(earlier=block), earlier=["b1"])
    found = row(verdict, "earlier")
    if block == {"batches": [7]}:  # an entry that is none is a batch of no name, which nobody measured either
        assert "batch None" in found.sentence
    else:
        assert found.sentence == f"not measured, whether what batch b1 forgot is still forgotten: {why}"
    assert (found.status, found.blocking, verdict.passed) == ("not_measured", True, False)
    assert (found.value, found.low, found.high, found.bound) == (None, None, None, "<= 0.1")
    assert found.source == BOUNDS.earlier_forgetting_drop.source


def test_a_purged_batch_is_excused_if_its_record_was_checked_and_judged_where_it_was_measured() -> None:
    gone = {"b1": "batch b1 (on a day)", "b3": "batch b3 (on another)"}
    verdict = judged(report(earlier=earlier(b2=sets(forget=0.03))), earlier=["b1", "b2", "b3"], purged=gone)
    found = row(verdict, "earlier_purged")
    assert (found.status, found.blocking, found.source) == ("pass", False, "purge records in the forget manifest")
    assert (found.value, found.low, found.high, found.bound) == (None, None, None, "")
    assert found.sentence == (
        "not measured any more, for the images are purged: batch b1 (on a day); batch b3 (on another)"
    )
    assert (row(verdict, "earlier").value, verdict.passed) == (0.03, True)
    measured = judged(report(earlier=earlier(b1=sets(forget=0.5))), earlier=["b1"], purged=gone)
    assert (row(measured, "earlier").status, measured.passed) == ("fail", False)
    assert "earlier_purged" not in {one.name for one in measured.criteria}
    only = judged(report(), earlier=["b1"], purged=gone)
    assert [one.name for one in only.criteria][-1] == "earlier_purged"
    assert "earlier" not in {one.name for one in only.criteria}


def attacked(attacks: Any, blocking: bool = True) -> tuple[Verdict, Criterion]:
    bounds = with_bounds(attacks={"relearn": Advice(value=0.1, source="attack's source", blocking=blocking)})
    verdict = judged(report(attacks=attacks), bounds)
    return verdict, row(verdict, "attack_relearn")


def finding(value: Any, **more: Any) -> dict[str, Any]:
    signal = {"value": value, "low": 0.0, "high": 1.0, "meaning": f"what {value} means"}
    return {"kind": "relearn", "signal": signal, **more}


def test_the_worst_finding_of_an_attack_is_judged() -> None:
    verdict, found = attacked([finding(0.02), finding(0.1), {"kind": "other"}, finding(9.0, not_made="why"), 7])
    assert (found.status, found.value, found.low, found.high, verdict.passed) == ("pass", 0.1, 0.0, 1.0, True)
    assert found.sentence == "0.100 (<= 0.1) what 0.1 means"
    for blocking in (True, False):
        verdict, found = attacked([finding(0.101), finding(-0.5)], blocking)
        assert (found.status, found.value, found.blocking) == ("fail", 0.101, blocking)
        assert verdict.passed != blocking
    assert attacked([finding(0.0), finding(0.5)])[1].value == 0.5
    assert attacked([finding(-0.5)])[1].value == -0.5
    assert attacked([{"kind": "relearn", "signal": {"value": 0.0}}])[1].sentence == "0.000 (<= 0.1) "


NO_FINDING = "not measured: no finding of it in the report"
BLIND = "not measured: it cannot tell here even what it is known that it should"


@pytest.mark.parametrize(
    ("attacks", "sentence"),
    [
        (None, NO_FINDING),
        ({}, NO_FINDING),
        ([], NO_FINDING),
        ([{"kind": "other", "signal": {"value": 0.0}}], NO_FINDING),
        ([finding(0.0, not_made="no encoder")], NO_FINDING),
        ([finding(0.0), finding(None)], NO_FINDING),
        ([{"kind": "relearn", "signal": 0.0}], NO_FINDING),
        ([finding(0.0, blind=True)], BLIND),
        ([finding(0.0), finding(0.0, blind=True)], BLIND),
    ],
)
def test_an_attack_that_was_not_made_or_sees_nothing_refuses(attacks: Any, sentence: str) -> None:
    verdict, found = attacked(attacks)
    assert (found.status, found.sentence, found.blocking) == ("not_measured", sentence, True)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert (found.bound, found.source) == ("<= 0.1", "attack's source")
    assert not verdict.passed
    assert attacked(attacks, blocking=False)[0].passed


def metric(**more: Any) -> Bound:
    told: dict[str, Any] = {"value": 2.0, "source": "metric's source", "metric": "mse", "side": "at_most"}
    return Bound(**{**told, **more})


def measured(**roles: Any) -> dict[str, Any]:
    return {"holdout": {"metrics": {role: {"mse": value} for role, value in roles.items()}}}


@pytest.mark.parametrize(
    ("one", "found_sets", "value", "status"),
    [
        (metric(), measured(unlearned=2.0), 2.0, "pass"),
        (metric(), measured(unlearned=2.1), 2.1, "fail"),
        (metric(side="at_least"), measured(unlearned=2.0), 2.0, "pass"),
        (metric(side="at_least"), measured(unlearned=1.9), 1.9, "fail"),
        (metric(over="reference"), measured(unlearned=3.0, reference=2.0), 1.5, "pass"),
        (metric(over="original"), measured(unlearned=3.0, original=1.0), 3.0, "fail"),
        (metric(over="original"), measured(unlearned=3.0, original=0.0), None, "not_measured"),
        (metric(over="original"), measured(unlearned=3.0), None, "not_measured"),
        (metric(over="original"), measured(original=3.0), None, "not_measured"),
        (metric(), {}, None, "not_measured"),
        (metric(), {"holdout": 7}, None, "not_measured"),
        (metric(set="forget"), measured(unlearned=1.0), None, "not_measured"),
    ],
)
@pytest.mark.parametrize("blocking", [True, False])
def test_a_bound_on_a_metric(one: Bound, found_sets: Any, value: Any, status: str, blocking: bool) -> None:
    bounds = with_bounds(metrics=(one.model_copy(update={"blocking": blocking}),))
    verdict = judged(report(sets=found_sets), bounds)
    found = row(verdict, f"mse_on_{one.set}")
    assert (found.value, found.status, found.blocking, found.source) == (value, status, blocking, "metric's source")
    assert verdict.passed == (status == "pass" or not blocking)
    if value is not None:
        what = f"mse on the {one.set} set"
        assert found.sentence.endswith(what if one.over is None else f"times the {one.over}'s {what}")
