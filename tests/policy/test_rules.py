"""The policy as a table: every condition from both sides, the order of rules, and numbers that are not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.toy_batch import toy_params
from unlearning import policy
from unlearning.errors import ParamsError, PolicyError
from unlearning.params import Params
from unlearning.policy import Drifted, Seen

BECAUSE = "the table says so"
FRESH = Drifted(0, 0.0, None)
BASE = {"version": 0, "checkpoint": "models/m/versions/0", "sha256": "0" * 64, "made_at": "2026-03-04T05:06:07+00:00"}


def seen(**changes: Any) -> Seen:
    told = {"sharded": False, "images": 37, "share": 0.1, "selectors": ("subject",), "days_left": 12}
    return Seen(**{**told, "goal": "never_seen", **changes})


def params_of(repository: Path, *rules: dict[str, Any], **more: Any) -> Params:
    told = [{"because": BECAUSE, **rule} for rule in rules]
    return toy_params(repository, **{"policy.rules": told, **{f"policy.{name}": value for name, value in more.items()}})


HOLDS = [
    ({"sharded": False}, {}),
    ({"sharded": True}, {"sharded": True}),
    ({"images_at_most": 37}, {}),
    ({"share_at_most": 0.1}, {}),
    ({"selectors": ["subject", "sample_key"]}, {}),
    ({"days_left_at_least": 12}, {}),
    ({"days_left_at_most": 12}, {}),
    ({"days_left_at_most": 0}, {"days_left": -3}),
    ({"goal": "never_seen"}, {}),
    ({"attempts_at_least": 2}, {"attempts": 2}),
    ({}, {"images": None, "share": None, "days_left": None}),
]
FAILS = [
    ({"sharded": True}, {}, "the generator is not sharded"),
    ({"sharded": False}, {"sharded": True}, "the generator is sharded"),
    ({"images_at_most": 36}, {}, "training images to forget: 37, at most 36 is asked"),
    ({"images_at_most": 36}, {"images": None}, "training images to forget: not known"),
    ({"share_at_most": 0.09}, {}, "share of the training images: 0.1, at most 0.09 is asked"),
    ({"share_at_most": 0.09}, {"share": None}, "share of the training images: not known"),
    ({"selectors": ["sample_key"]}, {}, "a request selects by subject, the rule is for sample_key"),
    ({"selectors": ["subject"]}, {"selectors": ("class", "subject")}, "a request selects by class"),
    ({"days_left_at_least": 13}, {}, "calendar days left: 12, at least 13 is asked"),
    ({"days_left_at_most": 11}, {}, "calendar days left: 12, at most 11 is asked"),
    ({"days_left_at_least": 1}, {"days_left": None}, "calendar days left: not known"),
    ({"attempts_at_least": 2}, {"attempts": 1}, "attempts: 1, at least 2 is asked"),
    ({"attempts_at_least": 2}, {"attempts": None}, "attempts: not known"),
    ({"goal": "unreconstructable"}, {}, "the goal is never_seen, the rule is for unreconstructable"),
]


@pytest.mark.parametrize(("when", "changes"), HOLDS)
def test_a_condition_holds(repository: Path, when: dict[str, Any], changes: dict[str, Any]) -> None:
    params = params_of(repository, {"when": when, "then": "suppress"})
    found = policy.decide(params, seen(**changes), FRESH, "b1")
    assert (found.tier, found.rule, found.declined) == ("suppress", 1, ())
    assert found.reason.endswith(BECAUSE)


@pytest.mark.parametrize(("when", "changes", "why"), FAILS)
def test_a_condition_fails_and_says_with_which_number(
    repository: Path, when: dict[str, Any], changes: dict[str, Any], why: str
) -> None:
    params = params_of(repository, {"when": when, "then": "suppress"})
    with pytest.raises(PolicyError, match="batch b1: no rule of policy admits a way of forgetting") as error:
        policy.decide(params, seen(**changes), FRESH, "b1")
    assert why in str(error.value)


def test_the_first_rule_that_applies_is_taken_and_those_before_it_say_why_not(repository: Path) -> None:
    params = params_of(
        repository,
        {"then": "exact"},
        {"when": {"images_at_most": 10}, "then": "approximate"},
        {"when": {"images_at_most": 40, "days_left_at_least": 2}, "then": "approximate"},
        {"then": "retrain"},
    )
    found = policy.decide(params, seen(), FRESH, "b1")
    assert (found.tier, found.rule) == ("approximate", 3)
    assert "(37 training images to forget, at most 40, 12 days left, at least 2)" in found.reason
    assert [(one.rule, one.then) for one in found.declined] == [(1, "exact"), (2, "approximate")]
    assert found.declined[0].why == ("exact needs generator sharded",)


@pytest.mark.parametrize(
    ("then", "sharded", "tier"),
    [
        ("exact", True, "exact"),
        ("exact", False, None),
        ("approximate", True, None),
        ("approximate", False, "approximate"),
        ("retrain", True, None),
        ("retrain", False, "retrain"),
        ("suppress", True, "suppress"),
    ],
)
def test_a_tier_that_a_generator_cannot_have_never_applies(
    repository: Path, then: str, sharded: bool, tier: str | None
) -> None:
    params = params_of(repository, {"then": then})
    if tier is None:
        with pytest.raises(PolicyError, match="sharded"):
            policy.decide(params, seen(sharded=sharded), FRESH, "b1")
        return
    found = policy.decide(params, seen(sharded=sharded), FRESH, "b1")
    assert found.tier == tier
    method = {"exact": "sisa", "retrain": "retrain"}.get(tier, params.unlearn.method.kind)
    assert found.unlearn.method.kind == method


@pytest.mark.parametrize(
    ("drift", "drifted", "why"),
    [
        ({"deletions": 5}, Drifted(4, None, BASE), None),
        (
            {"deletions": 5},
            Drifted(5, None, BASE),
            "this is the 6th deletion since the base of 2026-03-04, policy.drift.deletions is 5",
        ),
        ({"deletions": 2}, Drifted(2, None, None), "this is the 3rd deletion since the base, policy"),
        ({"deletions": 5}, Drifted(None, None, None), "how many deletions the base has had is not known"),
        ({"distance": 0.2}, Drifted(9, 0.2, BASE), None),
        ({"distance": 0.2}, Drifted(1, 0.21, BASE), "the served weights are 0.21 from the base of 2026-03-04"),
        ({"distance": 0.2}, Drifted(1, None, BASE), "the distance from the base of 2026-03-04 was not measured"),
        ({}, Drifted(None, None, None), None),
    ],
)
def test_a_spent_drift_budget_leaves_retraining_and_suppression(
    repository: Path, drift: dict[str, Any], drifted: Drifted, why: str | None
) -> None:
    params = params_of(repository, {"then": "approximate"}, {"then": "retrain"}, drift=drift)
    found = policy.decide(params, seen(), drifted, "b1")
    assert found.tier == ("approximate" if why is None else "retrain")
    assert why is None or why in found.declined[0].why[0]


def test_without_rules_unlearn_says_how_but_the_budget_holds(repository: Path) -> None:
    params = params_of(repository, drift={"deletions": 1})
    found = policy.decide(params, seen(), FRESH, "b1")
    assert (found.tier, found.rule, found.unlearn) == ("approximate", None, params.unlearn)
    with pytest.raises(PolicyError, match="unlearn, approximate: this is the 2nd deletion"):
        policy.decide(params, seen(), Drifted(1, None, BASE), "b1")
    retrain = toy_params(repository, **{"unlearn.method": {"kind": "retrain"}, "policy.drift": {"deletions": 1}})
    assert policy.decide(retrain, seen(), Drifted(1, None, BASE), "b1").tier == "retrain"


def test_overrides_replace_what_they_name_and_a_budget_field_by_field(repository: Path) -> None:
    changed = {"method": {"kind": "naive_deletion"}, "budget": {"steps": 7}}
    params = params_of(repository, {"then": "approximate", "unlearn": changed})
    unlearn = policy.decide(params, seen(), FRESH, "b1").unlearn
    assert (unlearn.method.kind, unlearn.budget.steps) == ("naive_deletion", 7)
    assert unlearn.budget.learning_rate == params.unlearn.budget.learning_rate
    assert (unlearn.merge, unlearn.scope) == (params.unlearn.merge, params.unlearn.scope)


def test_an_override_that_does_not_fit_is_named_behind_a_rule_that_applies_too(repository: Path) -> None:
    wrong = {"then": "approximate", "unlearn": {"budget": {"stepz": 7}}}
    params = params_of(repository, {"then": "suppress"}, wrong)
    with pytest.raises(ParamsError, match=r"policy\.rules\.1\.unlearn: there is no key 'budget.stepz'"):
        policy.decide(params, seen(), FRESH, "b1")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"then": "erase"}, "policy.rules.0.then"),
        ({"then": "suppress", "when": {"image_at_most": 3}}, "policy.rules.0.when.image_at_most"),
        ({"then": "retrain", "unlearn": {"budget": {"steps": 3}}}, "none is right with retrain"),
        ({"then": "approximate", "unlearn": {"cache": False}}, "a rule may not change unlearn.cache"),
        ({"then": "approximate", "unlearn": {"method": {"kind": "sisa"}}}, "sisa and retrain are no approximations"),
        ({"then": "suppress", "because": "short"}, "policy.rules.0.because"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_when_it_is_read(repository: Path, rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError) as error:
        params_of(repository, rule)
    assert said in str(error.value)


def test_a_policy_that_says_nothing_is_not_written(repository: Path) -> None:
    """So that what was made before there was one is still current."""
    assert "policy" not in toy_params(repository).model_dump()
    assert params_of(repository, days=45).model_dump()["policy"]["days"] == 45
