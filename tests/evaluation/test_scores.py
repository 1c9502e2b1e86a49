"""The normalised scores and the gates, on numbers whose answer is known."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from unlearning import files, gates
from unlearning.metrics._scores import kept, moved, moved_bounded
from unlearning.rules import Advice, Bound, Gates, Threshold

SOURCE = "a threshold of this test"


def errors(level: float, n: int = 50, seeds: int = 3) -> np.ndarray:
    return level + np.random.default_rng(1).normal(0, 0.01, (n, seeds)) * 0.1


@pytest.mark.parametrize(("level", "expected"), [(0.2, 0.0), (1.0, 1.0), (0.6, 0.5), (1.4, 1.5)])
def test_movement_is_the_share_of_the_way_to_the_mean_picture(level: float, expected: float) -> None:
    score = moved(errors(level), errors(0.2), errors(1.0), 500, 0.95, "forget")
    assert score is not None
    assert score.value == pytest.approx(expected, abs=1e-9)
    assert score.low <= score.value <= score.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        model = rng.normal(0.6, 0.2, (60, 1))
        score = moved(model, np.full((60, 1), 0.2), np.full((60, 1), 1.0), 300, 0.9, "forget")
        assert score is not None
        covered += score.low <= 0.5 <= score.high
    assert 165 <= covered <= 195


def bounded(model: list[float], original: list[float], mean: list[float]) -> float:
    score = moved_bounded(*(np.array(errors)[:, None] for errors in (model, original, mean)), 200, 0.95, "forget")
    assert score is not None
    assert score.low <= score.value <= score.high <= 1
    return score.value


def test_bounded_movement_is_movement_where_no_picture_is_worse_than_the_mean_picture() -> None:
    images = ([0.3, 0.5, 0.9], [0.1, 0.3, 0.2], [1.1, 0.8, 0.9])
    plain = moved(*(np.array(errors)[:, None] for errors in images), 200, 0.95, "forget")
    assert plain is not None
    assert bounded(*images) == pytest.approx(plain.value) == pytest.approx(1.1 / 2.2)


def test_a_hugely_wrong_picture_buys_nothing_for_the_untouched() -> None:
    """One image of four is forgotten, three are drawn as before: a quarter, however wrong the one is."""
    original, mean = [0.2] * 4, [1.0] * 4
    assert bounded([3.4, 0.2, 0.2, 0.2], original, mean) == pytest.approx(0.25)
    plain = moved(*(np.array(one)[:, None] for one in ([3.4, 0.2, 0.2, 0.2], original, mean)), 200, 0.95, "forget")
    assert plain is not None
    assert plain.value == pytest.approx(1.0)


def test_bounded_movement_is_one_at_most_even_of_images_the_original_knows_less_of_than_nothing() -> None:
    """The second image has no way to go: the original errs more than the mean picture. The first goes half of its."""
    assert bounded([4.0, 4.0], [0.2, 0.9], [1.0, 0.4]) == 1.0
    assert bounded([0.6, 0.9], [0.2, 0.9], [1.0, 0.4]) == pytest.approx(0.5)
    assert bounded([0.2, 0.9], [0.2, 0.9], [1.0, 0.4]) == 0.0


def test_the_bound_is_of_each_draw_not_of_their_mean() -> None:
    """Hugely wrong under one hole, untouched under the other: half."""
    score = moved_bounded(np.array([[9.0, 0.2]] * 3), np.full((3, 2), 0.2), np.full((3, 2), 1.0), 200, 0.95, "forget")
    assert score is not None
    assert score.value == pytest.approx(0.5)


def test_retention_turns_movement_and_its_interval_around() -> None:
    score = moved(errors(0.24), errors(0.2), errors(1.0), 500, 0.95, "holdout")
    retention = kept(score)
    assert score is not None
    assert retention is not None
    assert retention.value == pytest.approx(0.95)
    assert retention.low == 1 - score.high
    assert kept(None) is None


@pytest.mark.parametrize(
    ("model", "original", "mean"),
    [
        (errors(np.nan), errors(0.2), errors(1.0)),
        (errors(0.5), errors(1.0), errors(0.9)),  # the original knows less than the mean picture: there is no scale
        (np.empty((0, 3)), np.empty((0, 3)), np.empty((0, 3))),
    ],
    ids=["not finite", "no scale", "no images"],
)
def test_nothing_is_said_where_nothing_can_be(model: np.ndarray, original: np.ndarray, mean: np.ndarray) -> None:
    assert moved(model, original, mean, 200, 0.95, "forget") is None
    assert moved_bounded(model, original, mean, 200, 0.95, "forget") is None


CHECKPOINTS = {"original": "a", "reference": "b", "unlearned": "c"}
GATES = Gates(
    forgetting_at_least=Threshold(value=0.9, source=SOURCE),
    retention_at_least=Threshold(value=0.98, source=SOURCE),
    over_forgetting_margin=Threshold(value=0.1, source=SOURCE),
    reference_distance_at_most=Threshold(value=0.1, source=SOURCE),
)


def report(goal: str = "unreconstructable", **scores: Any) -> dict[str, Any]:
    values = {
        "forgetting": 1.05,
        "forgetting_trained": 1.0,
        "retention": 0.99,
        "reference_forgetting": 1.1,
        "reference_forgetting_trained": 1.02,
        **scores,
    }
    return {
        "goal": goal,
        "scores": {name: None if value is None else {"value": value} for name, value in values.items()},
        "checkpoints": dict(CHECKPOINTS),
        "weights": {"original": "w0", "reference": "wr", "unlearned": "w1"},
        "finite": True,
    }


@pytest.mark.parametrize("goal", ["unreconstructable", "never_seen"])
def test_a_good_report_passes(goal: str) -> None:
    verdict = gates.evaluate(report(goal), GATES, CHECKPOINTS)
    assert verdict.passed
    assert verdict.word == "passed"
    assert all(criterion.source for criterion in verdict.criteria)


def refusals() -> dict[str, dict[str, Any]]:
    good = report()

    def but(**changes: Any) -> dict[str, Any]:
        return {**copy.deepcopy(good), **changes}

    return {
        "forgets too little": report(forgetting=0.89),
        "forgets unseen images only": report(forgetting_trained=0.5),
        "retains too little": report(retention=0.979),
        "forgetting not measured": report(forgetting=None),
        "retention not measured": report(retention=None),
        "NaN": report(retention=math.nan),
        "true is not a number": report(retention=True),
        "infinite": report(forgetting=math.inf),
        "no scores at all": but(scores={}),
        "scores are not a mapping": but(scores=[1, 2]),
        "another checkpoint": but(checkpoints={**CHECKPOINTS, "unlearned": "d"}),
        "no checkpoints": but(checkpoints={}),
        "unchanged weights": but(weights={"original": "w0", "unlearned": "w0"}),
        "no weights": but(weights=None),
        "not finite pictures": but(finite=False),
        "finiteness unsaid": but(finite=None),
        "unknown goal": but(goal="be_nice"),
        "no goal": but(goal=None),
        "never seen, too far": report("never_seen", forgetting_trained=1.2),
        "never seen, too near the original": report("never_seen", forgetting_trained=0.8),
        "never seen, no reference": report("never_seen", reference_forgetting_trained=None),
        "empty": {},
    }


@pytest.mark.parametrize("name", sorted(refusals()))
def test_the_gates_fail_closed(name: str) -> None:
    assert not gates.evaluate(refusals()[name], GATES, CHECKPOINTS).passed


def test_a_missing_checkpoint_is_refused_even_if_the_report_agrees() -> None:
    silent = {**report(), "checkpoints": {}}
    assert not gates.evaluate(silent, GATES, {}).passed


def test_over_forgetting_is_reported_and_does_not_refuse() -> None:
    verdict = gates.evaluate(report(forgetting=1.5), GATES, CHECKPOINTS)
    over = next(criterion for criterion in verdict.criteria if criterion.name == "over_forgetting")
    assert verdict.passed
    assert over.status == "fail"
    assert not over.blocking
    assert over.value == pytest.approx(0.4)  # beyond the reference's own 1.1


@pytest.mark.parametrize(
    ("forgetting", "status", "side"),
    [
        (1.2, ("fail", "fail"), "over-forgets, more than the reference"),
        (0.8, ("fail", "pass"), "forgets less than the reference"),
        (1.02, ("pass", "pass"), "forgets as much as the reference"),
    ],
)
def test_a_model_that_should_never_have_seen_it_is_told_on_which_side_it_errs(
    forgetting: float, status: tuple[str, str], side: str
) -> None:
    """Over-forgetting is a defect of its own name; the distance refuses either way."""
    verdict = gates.evaluate(report("never_seen", forgetting_trained=forgetting), GATES, CHECKPOINTS)
    by_name = {criterion.name: criterion for criterion in verdict.criteria}
    distance, over = by_name["reference_distance"], by_name["over_forgetting"]
    assert (distance.status, over.status) == status
    assert side in distance.sentence
    assert over.value == pytest.approx(forgetting - 1.02)
    assert (distance.blocking, over.blocking) == (True, False)
    assert verdict.passed == (distance.status == "pass")


def attack(kind: str = "relearn", value: float | None = 0.05, **said: Any) -> dict[str, Any]:
    signal = None if value is None else {"value": value, "low": value - 0.02, "high": value + 0.02}
    return {"kind": kind, "finding": "curve", "signal": signal, **said}


def attacked(*entries: Any, blocking: bool = True) -> gates.Criterion:
    """The criterion on relearning, at most a tenth."""
    bound = Advice(value=0.1, source=SOURCE, blocking=blocking)
    verdict = gates.evaluate(
        {**report(), "attacks": list(entries)}, GATES.model_copy(update={"attacks": {"relearn": bound}}), CHECKPOINTS
    )
    (criterion,) = (one for one in verdict.criteria if one.name == "attack_relearn")
    assert verdict.passed == (criterion.status == "pass" or not blocking)
    return criterion


def test_the_worst_finding_of_a_kind_is_what_its_gate_judges() -> None:
    good = attacked(attack(value=0.05), attack(value=-0.3), attack("exposure", 0.4))
    assert (good.status, good.value, good.low, good.high) == ("pass", 0.05, pytest.approx(0.03), pytest.approx(0.07))
    bad = attacked(attack(value=-0.3), attack(value=0.11))
    assert (bad.status, bad.value) == ("fail", 0.11)
    assert attacked(attack(value=0.11), blocking=False).status == "fail"


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (attack("exposure"),),
        (attack(value=None),),
        (attack(), attack(value=math.nan)),
        (attack(blind=True),),
        ({"kind": "relearn", "not_made": "the forget set is empty"},),
        ("relearn",),
    ],
    ids=["no attack", "another", "no number", "one is NaN", "blind", "not made", "no mapping"],
)
def test_an_attack_that_a_gate_asks_for_and_that_says_nothing_refuses(entries: tuple[Any, ...]) -> None:
    assert attacked(*entries).status == "not_measured"


def test_the_order_of_criteria_is_no_matter_of_how_the_parameters_are_written() -> None:
    """A certificate keeps them as canonical JSON, whose keys are sorted: composed again it must say the same."""
    bounds = {kind: Advice(value=0.1, source=SOURCE) for kind in ("relearn", "exposure", "membership")}
    orders = (GATES.model_copy(update={"attacks": bounds}), Gates.model_validate_json(
        files.canonical(GATES.model_copy(update={"attacks": bounds}).model_dump(mode="json"))
    ))  # fmt: skip
    first, again = (gates.evaluate(report(), each, CHECKPOINTS).as_rows() for each in orders)
    assert first == again


def bounded_by(bound: Bound, **metrics: Any) -> str:
    """The status of a bound on lpips over the held-out set."""
    said = {"sets": {"holdout": {"metrics": {role: {"lpips": value} for role, value in metrics.items()}}}}
    verdict = gates.evaluate({**report(), **said}, GATES.model_copy(update={"metrics": (bound,)}), CHECKPOINTS)
    (criterion,) = (one for one in verdict.criteria if one.name == "lpips_on_holdout")
    assert verdict.passed == (criterion.status == "pass")
    return criterion.status


def test_a_metric_is_bounded_as_it_is_or_beside_another_model() -> None:
    plain = Bound(metric="lpips", side="at_most", value=0.2, source=SOURCE, blocking=True)
    assert bounded_by(plain, unlearned=0.2, original=0.1) == "pass"
    assert bounded_by(plain, unlearned=0.21, original=0.1) == "fail"
    assert bounded_by(plain.model_copy(update={"side": "at_least"}), unlearned=0.19) == "fail"
    ratio = plain.model_copy(update={"over": "original", "value": 1.5})
    assert bounded_by(ratio, unlearned=0.3, original=0.2) == "pass"
    assert bounded_by(ratio, unlearned=0.31, original=0.2) == "fail"


def test_a_metric_without_its_extractor_is_not_measured_and_the_gate_refuses() -> None:
    bound = Bound(metric="lpips", side="at_most", value=0.2, source=SOURCE, blocking=True)
    assert bounded_by(bound) == "not_measured"
    assert bounded_by(bound, unlearned=None) == "not_measured"
    assert bounded_by(bound.model_copy(update={"over": "original"}), unlearned=0.2) == "not_measured"
    assert bounded_by(bound.model_copy(update={"over": "original"}), unlearned=0.2, original=0) == "not_measured"


def test_gates_that_bound_nothing_more_are_written_as_before() -> None:
    assert {"attacks", "metrics"}.isdisjoint(GATES.model_dump(mode="json"))
