"""What must hold between the statements of a bundle: each rule alone, at its edges, and the sentence that it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.evidence import bundles
from tests.evidence.forged_bundles import BREAKS
from tests.evidence.sealing import Draft, group, measurement
from unlearning.evidence import bundle, bundle_rules

_PAYLOADS = "7.1: the index does not list the payloads of this bundle, in their order"
_WEIGHTS = "7.2: the statements are not all about the same weights"
_SETS = "7.3: the sets are not of one data set under one key"
_FORGET = "7.3: the forget set is empty, or larger than the data set"
_OTHERWISE = "status {}, but the test results and the policy's decision say otherwise"
_NULL = "7.6: certificate_sha256 and goal are null for no_match, and only then"
_TIME = "7.8: a time stands before one that it must follow"
_SUPERSEDES = "7.9: the first of a sequence supersedes nothing, and every later one something"
_REQUESTS = "7.10: requests are sorted, each once, and at least one"
SENTENCES = {
    "payload_left_out": _PAYLOADS,
    "payload_of_another": _PAYLOADS,
    "payload_swapped": _PAYLOADS,
    "decided_about_another": _WEIGHTS,
    "issued_about_another": _WEIGHTS,
    "made_another": _WEIGHTS,
    "other_data_set": _SETS,
    "other_data_set_version": _SETS,
    "other_key": _SETS,
    "more_forgotten_than_there_is": _FORGET,
    "nothing_forgotten": _FORGET,
    "nothing_in_another_data_set": "7.3: the no-match statement is about another data set",
    "forgot_another_set": "7.4: the run was not made from the forget set that is committed to",
    "issued_with_a_failed_test": f"7.5: {_OTHERWISE.format('issued')}",
    "refused_with_all_passed": f"7.5: {_OTHERWISE.format('refused')}",
    "refused_gates_passed": f"7.5: {_OTHERWISE.format('refused')}",
    "level_none_is_none": "7.5: of levels of forgetting the policy's decision does not hold FORGET_C2+R alone",
    "refused_forgets": "7.5: the policy's decision holds a level of forgetting for a refused model",
    "certificate_of_nothing": _NULL,
    "goal_missing": _NULL,
    "goal_of_nothing": _NULL,
    "issued_at_no_level": "7.6: claim level none for a bundle of status issued",
    "nothing_with_a_level": "7.6: claim level C2 for a bundle of status no_match",
    "refused_with_a_level": "7.6: claim level C1 for a bundle of status refused",
    "promoted_backwards": "7.7: the promotion's version is not above the one it replaced",
    "promoted_by_another": "7.7: what was promoted was promoted by another certificate",
    "promoted_though_refused": "7.7: a model was promoted, but the status is refused",
    "began_after_its_end": _TIME,
    "decided_after_issue": _TIME,
    "ended_after_issue": _TIME,
    "promoted_after_issue": _TIME,
    "purged_after_issue": _TIME,
    "purged_before_promotion": _TIME,
    "first_supersedes": _SUPERSEDES,
    "later_supersedes_nothing": _SUPERSEDES,
    "log_too_short": "7.9: the log is shorter than the bundle that was written into it",
    "all_claimed": "7.10: a bundle that leaves nothing unclaimed",
    "nobody_asked": _REQUESTS,
    "request_twice": _REQUESTS,
    "requests_unsorted": _REQUESTS,
    "nothing_for_another": "7.10: a bundle of status no_match answers another request than its own",
}


def said(draft: Draft) -> list[str]:
    return bundle_rules.problems(bundle.read(draft.sealed()))


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_a_broken_rule_gives_its_sentence_and_no_other(name: str) -> None:
    assert said(BREAKS[name].broken(0)) == [f"spec {SENTENCES[name]}"]


def drawn(status: str, *needs: str) -> Draft:
    """The first draft of a status that holds some statements."""
    drafts = (bundles.draft(seed, status) for seed in range(1000))
    return next(one for one in drafts if all(map(one.of, needs)))


def test_rules_are_looked_at_whatever_the_others_say() -> None:
    draft = drawn("issued", "promotion:1")
    draft.of("svr/v0.2")[0].update(properties=["FORGET_C1", "FORGET_C2"], timeCreated="2027-01-01T00:00:00+00:00")
    draft.index.update(claim_level="C1", requests=[], not_claimed=[])
    assert said(draft) == [
        "spec 7.5: status issued, but the test results and the policy's decision say otherwise",
        "spec 7.5: of levels of forgetting the policy's decision does not hold FORGET_C1 alone",
        f"spec {_TIME}",
        f"spec {_REQUESTS}",
        "spec 7.10: a bundle that leaves nothing unclaimed",
    ]


def test_no_match_is_held_against_the_data_set_alone() -> None:
    draft = drawn("no_match")
    assert said(draft) == []
    draft.of("set-commitment:1")[0]["dataset"] = draft.of("no-match:1")[0]["dataset"] = "another"
    draft.statements = [one for one in draft.statements if one["predicate"].get("set") != "dataset_keys"]
    assert said(draft) == []


def test_the_whole_data_set_may_be_forgotten_and_not_one_image_more() -> None:
    draft = drawn("issued")
    sets = {one["set"]: one for one in draft.of("set-commitment:1")}
    sets["forget"]["size"] = sets["dataset"]["size"]
    assert said(draft) == []
    sets["forget"]["size"] += 1
    assert said(draft) == [f"spec {_FORGET}"]
    sets["forget"]["size"] = 1
    assert said(draft) == []


@pytest.mark.parametrize("name", ["dataset", "forget", "retain"])
def test_the_run_was_made_from_every_set(name: str) -> None:
    draft = drawn("issued")
    depends = draft.of("provenance/v1")[0]["buildDefinition"]["resolvedDependencies"]
    next(one for one in depends if one["name"] == name)["digest"]["sha256"] = "0f" * 32
    assert said(draft) == [f"spec 7.4: the run was not made from the {name} set that is committed to"]


def test_a_run_is_not_held_against_the_set_of_names() -> None:
    draft = next(
        one
        for one in (bundles.draft(seed, "issued") for seed in range(99))
        if any(held["set"] == "dataset_keys" for held in one.of("set-commitment:1"))
    )
    depends = draft.of("provenance/v1")[0]["buildDefinition"]["resolvedDependencies"]
    depends.append({"digest": {"sha256": "0f" * 32}, "name": "dataset_keys"})
    assert said(draft) == []


@pytest.mark.parametrize(
    ("status", "outcome", "word", "holds"),
    [
        ("issued", "pass", "GATES_PASSED", True),
        ("issued", "pass", "GATES_REFUSED", False),
        ("issued", "fail", "GATES_PASSED", False),
        ("issued", "fail", "GATES_REFUSED", False),
        ("refused", "fail", "GATES_REFUSED", True),
        ("refused", "fail", "GATES_PASSED", False),
        ("refused", "pass", "GATES_REFUSED", False),
        ("refused", "pass", "GATES_PASSED", False),
    ],
)
def test_the_status_is_what_tests_and_policy_say_together(status: str, outcome: str, word: str, holds: bool) -> None:
    draft = drawn(status)
    tests = draft.of("test-result/v0.1")
    for number, one in enumerate(tests):  # of several groups one fails
        one.update(group(one["group"], [measurement(f"m{number}", outcome if number == 0 else "pass")]))
    level = draft.index["claim_level"]
    draft.of("svr/v0.2")[0]["properties"] = sorted([word, *([f"FORGET_{level}"] if status == "issued" else [])])
    assert said(draft) == ([] if holds else [f"spec 7.5: {_OTHERWISE.format(status)}"])


def test_what_only_warns_refuses_nothing() -> None:
    draft = drawn("issued")
    one = draft.of("test-result/v0.1")[0]
    one.update(group(one["group"], [measurement("warns", "fail", blocking=False)]))
    assert said(draft) == []


@pytest.mark.parametrize(
    ("version", "previous", "holds"), [(4, 3, True), (3, 3, False), (2, 3, False), (1, None, True)]
)
def test_a_version_is_above_the_one_it_replaced(version: int, previous: int | None, holds: bool) -> None:
    draft = drawn("issued", "promotion:1")
    before = None if previous is None else {"sha256": "0f" * 32, "version": previous}
    draft.of("promotion:1")[0].update(version=version, previous=before)
    assert said(draft) == ([] if holds else [f"spec {SENTENCES['promoted_backwards']}"])


_NOW = "2026-09-05T05:05:05+00:00"
_SOONER, _LATER = "2026-09-05T05:05:04+00:00", "2026-09-05T05:05:06+00:00"
_MOMENTS: dict[str, Callable[[Draft, str], Any]] = {
    "began": lambda draft, moment: _ran(draft).update(startedOn=moment),
    "ended": lambda draft, moment: _ran(draft).update(finishedOn=moment),
    "decided": lambda draft, moment: draft.of("svr/v0.2")[0].update(timeCreated=moment),
    "promoted": lambda draft, moment: draft.of("promotion:1")[0].update(at=moment),
    "purge began": lambda draft, moment: draft.of("purge:1")[0].update(started_at=moment),
    "purge ended": lambda draft, moment: draft.of("purge:1")[0].update(finished_at=moment),
    "issued": lambda draft, moment: draft.index.update(issued_at=moment),
}


def _ran(draft: Draft) -> dict[str, Any]:
    ran: dict[str, Any] = draft.of("provenance/v1")[0]["runDetails"]["metadata"]
    return ran


def at_one_moment() -> Draft:
    draft = drawn("issued", "promotion:1", "purge:1")
    for put in _MOMENTS.values():
        put(draft, _NOW)
    return draft


def test_everything_may_be_of_one_moment() -> None:
    assert said(at_one_moment()) == []


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("began", _LATER),
        ("ended", _SOONER),
        ("ended", _LATER),
        ("decided", _LATER),
        ("promoted", _LATER),
        ("purge began", _SOONER),
        ("purge began", _LATER),
        ("purge ended", _SOONER),
        ("purge ended", _LATER),
        ("issued", _SOONER),
    ],
)
def test_what_follows_is_not_before(name: str, moment: str) -> None:
    draft = at_one_moment()
    _MOMENTS[name](draft, moment)
    assert said(draft) == [f"spec {_TIME}"]


@pytest.mark.parametrize(("name", "moment"), [("began", _SOONER), ("decided", _SOONER), ("issued", _LATER)])
def test_what_may_be_before_is_no_problem(name: str, moment: str) -> None:
    draft = at_one_moment()
    _MOMENTS[name](draft, moment)
    assert said(draft) == []


def test_a_model_is_served_before_its_bundle_says_so_even_if_nothing_was_purged() -> None:
    draft = next(
        one
        for one in (bundles.draft(seed, "issued") for seed in range(99))
        if one.of("promotion:1")[:1] and not one.of("purge:1")
    )
    draft.of("promotion:1")[0]["at"] = draft.index["issued_at"]
    assert said(draft) == []
    draft.of("promotion:1")[0]["at"] = "2027-01-01T00:00:00+00:00"
    assert said(draft) == [f"spec {_TIME}"]


def test_a_log_may_begin_with_the_bundle() -> None:
    draft = drawn("issued")
    draft.earlier = []
    assert said(draft) == []
    draft.late.append(lambda index: index["log"].update(size=len(index["payloads"]) - 1))
    assert said(draft) == [f"spec {SENTENCES['log_too_short']}"]


@pytest.mark.parametrize(
    ("sequence", "supersedes", "holds"),
    [(0, None, True), (1, "0f" * 32, True), (0, "0f" * 32, False), (1, None, False)],
)
def test_the_first_supersedes_nothing(sequence: int, supersedes: str | None, holds: bool) -> None:
    draft = drawn("issued")
    draft.index.update(sequence=sequence, supersedes=supersedes)
    assert said(draft) == ([] if holds else [f"spec {_SUPERSEDES}"])
