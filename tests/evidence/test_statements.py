"""What a batch's files say, as statements: each one whole, from records that are written by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.evidence.statement_inputs import COMMITTED, GATES, IMAGES, OTHER, SAID, SETS, WEIGHTS, K, file, read
from unlearning.evidence import commitment, statements
from unlearning.evidence.statements import Sets

NAMES = commitment.of(K, "key", IMAGES)


def whole(kind: str, predicate: dict[str, Any], **subject: str) -> dict[str, Any]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": kind,
        "predicate": predicate,
        "subject": [
            {"name": name.replace("model_", "model."), "digest": {"sha256": sha256}} for name, sha256 in subject.items()
        ],
    }


def committed(name: str, kind: str, counts: dict[str, int]) -> dict[str, Any]:
    held = {**COMMITTED, "dataset_keys": NAMES}[name]
    said = {"dataset": "toys", "dataset_sha256": OTHER, "key_id": commitment.key_id(K), "tree": "rfc9162-sha256-sorted"}
    said |= {"counts": counts, "leaf": kind, "set": name, "size": held.size}
    return whole("urn:unlearning:set-commitment:1", said, **{name: held.root.hex()})


def test_one_commitment_a_set_in_the_order_of_the_specification() -> None:
    assert [read(one) for one in statements.commitments(SETS)] == [
        committed("dataset", "content/1", {}),
        committed("forget", "content/1", {"rows": 2, "requests": 1}),
        committed("retain", "content/1", {}),
    ]
    named = Sets("toys", OTHER, {"dataset_keys": NAMES, **COMMITTED}, {})
    assert [read(one)["predicate"]["set"] for one in statements.commitments(named)] == [
        "dataset", "dataset_keys", "forget", "retain",
    ]  # fmt: skip
    assert read(statements.commitments(named)[1]) == committed("dataset_keys", "key/1", {})
    assert Sets("toys", OTHER, {}).counts == {}
    assert SETS.root("forget") == COMMITTED["forget"].root.hex()


def test_what_was_found_by_what_starts_at_nothing() -> None:
    one = {"state": "scheduled", "selectors": {"class": 2}, "same_pixels": 0, "train": 1, "holdout": 3}
    more = {**one, "perceptual": 5, "same_pixels": 7}
    twice = statements.found_by({"forget": 0, "requests": [more, more]})
    assert (twice["same_pixels"], twice["near.perceptual"]) == (14, 10)
    assert statements.found_by({"forget": "12", "requests": []}) == {"rows": 12, "requests": 0}
    assert statements.found_by({"forget": 4, "requests": [one, {**one, "state": "in_review"}, more]}) == {
        "rows": 4, "requests": 2, "by.class": 4, "same_pixels": 7, "train": 2, "holdout": 6, "near.perceptual": 5,
    }  # fmt: skip


def row(name: str, status: str = "pass", blocking: bool = True, **numbers: float | None) -> dict[str, Any]:
    told = {"value": 0.5, "low": 0, "high": None, **numbers}
    return {"name": name, "status": status, "blocking": blocking, "bound": ">= 0.1", "source": "a test", **told}


def test_criteria_are_told_by_groups() -> None:
    rows = [
        row("goal"), row("forgetting"), row("integrity"), row("class_retention", "fail", False), row("attack_relearn"),
        row("pixels", "not_measured", True, value=None, low=None), row("reference_distance"), row("earlier_purged"),
        row("earlier"), row("over_forgetting", "fail"), row("forgetting_trained"), row("sibling_retention"),
        row("retention"), row("attack_exposure", "fail", False),
    ]  # fmt: skip
    made = [read(one) for one in statements.tests({**SAID, "criteria": rows}, "be" * 32, "ce" * 32)]
    assert [(one["predicate"]["group"], [m["name"] for m in one["predicate"]["measurements"]]) for one in made] == [
        ("integrity", ["goal", "integrity"]),
        ("forgetting", ["forgetting", "reference_distance", "over_forgetting", "forgetting_trained"]),
        ("retention", ["class_retention", "sibling_retention", "retention"]),
        ("attacks", ["attack_relearn", "attack_exposure"]),
        ("metrics", ["pixels"]),
        ("earlier", ["earlier_purged", "earlier"]),
    ]
    assert [one["predicate"]["result"] for one in made] == ["PASSED", "FAILED", "WARNED", "WARNED", "FAILED", "PASSED"]
    first, last = {"name": "goal", "value": "0.5", "low": "0.0", "high": None}, made[4]["predicate"]["measurements"][0]
    same = {"blocking": True, "bound": ">= 0.1", "source": "a test", "status": "pass"}
    assert made[0]["predicate"]["measurements"][0] == {**same, **first}
    assert (last["value"], last["low"], last["high"]) == (None, None, None)
    said = {
        "configuration": [file("gates", GATES), file("report.json", "be" * 32)],
        "failedTests": ["over_forgetting"],
        "group": "forgetting",
        "measurements": made[1]["predicate"]["measurements"],
        "passedTests": ["forgetting", "forgetting_trained", "reference_distance"],
        "reference": "ce" * 32,
        "result": "FAILED",
        "warnedTests": [],
    }
    kind = "https://in-toto.io/attestation/test-result/v0.1"
    assert made[1] == whole(kind, said, model_safetensors=WEIGHTS)
    assert made[2]["predicate"]["warnedTests"] == ["class_retention"]
    assert read(statements.tests({**SAID, "criteria": rows}, "be" * 32, None)[0])["predicate"]["reference"] is None
    assert statements.tests({**SAID, "criteria": []}, "be" * 32, None) == []


@pytest.mark.parametrize(
    ("changes", "properties"),
    [
        ({}, ["FORGET_C1", "GATES_PASSED", "TIER_APPROXIMATE"]),
        ({"claim_level": "C3+R", "policy": {"tier": "retrain"}}, ["FORGET_C3+R", "GATES_PASSED", "TIER_RETRAIN"]),
        ({"status": "refused", "claim_level": "none"}, ["GATES_REFUSED", "TIER_APPROXIMATE"]),
    ],
)
def test_what_the_gates_decided(changes: dict[str, Any], properties: list[str]) -> None:
    said = {
        "policy": {"sha256": GATES},
        "properties": properties,
        "timeCreated": "2026-03-04T04:06:08+00:00",
        "verifier": {"id": statements.TOOL},
    }
    kind = "https://in-toto.io/attestation/svr/v0.2"
    assert read(statements.decision({**SAID, **changes})) == whole(kind, said, model_safetensors=WEIGHTS)


def test_an_answer_without_a_match_names_each_way_once() -> None:
    ways = ["class", "sample_key", "class", "content_sha256", "subject"]
    said = {
        "dataset": "toys",
        "request_id": "r-1",
        "selectors": [
            {"kind": "class", "provable": False},
            {"kind": "sample_key", "provable": True},
            {"kind": "content_sha256", "provable": True},
            {"kind": "subject", "provable": False},
        ],
    }
    kind = "urn:unlearning:no-match:1"
    assert read(statements.no_match("r-1", ways, SETS)) == whole(kind, said, dataset=SETS.root("dataset"))


def test_since_when_a_model_is_served() -> None:
    line = {"version": 3, "sha256": "de" * 32, "certificate_sha256": "ee" * 32, "pending_requests": 4, "batch": "b1"}
    before = {"version": 2, "sha256": "fe" * 32, "batch": "b0"}
    said = {
        "approver_role": "pipeline",
        "at": "2026-03-04T04:06:09+00:00",
        "certificate_sha256": "ee" * 32,
        "checkpoint_sha256": "de" * 32,
        "model": "toys-mae",
        "pending_requests": 4,
        "previous": {"sha256": "fe" * 32, "version": 2},
        "version": 3,
    }
    kind, at = "urn:unlearning:promotion:1", "2026-03-04T05:06:09.5+01:00"
    made = read(statements.promotion("toys-mae", line, before, WEIGHTS, at))
    assert made == whole(kind, said, model_safetensors=WEIGHTS)
    del line["pending_requests"]
    made = read(statements.promotion("toys-mae", line, None, WEIGHTS, at))
    assert made == whole(kind, {**said, "pending_requests": None, "previous": None}, model_safetensors=WEIGHTS)


def test_what_became_of_stored_copies() -> None:
    place = {"location": "inbox", "method": "delete", "found": 3, "removed": 3, "remaining": 0, "why": None}
    kept = {**place, "location": "backups", "method": "none", "removed": 0, "remaining": 3, "why": "kept_by_law"}
    times = [
        {"verified_at": "2026-03-04T05:06:10+01:00", "expires_at": None},
        {"verified_at": None, "expires_at": "2027-01-01T01:00:00+01:00"},
    ]
    record = {
        "batch": "b1",
        "model": "toys-mae",
        "status": "complete",
        "started_at": "2026-03-04T05:06:10+01:00",
        "finished_at": "2026-03-04T05:06:11+01:00",
        "tool": {"name": "unlearning", "version": "0.1.0", "seed": 1},
        "locations": [{**place, **times[0]}, {**kept, **times[1]}],
        "scan": {"files": 5, "bytes": 60, "hits": 0},
    }
    said = {
        "finished_at": "2026-03-04T04:06:11+00:00",
        "locations": [
            {**place, "verified_at": "2026-03-04T04:06:10+00:00", "expires_at": None},
            {**kept, "verified_at": None, "expires_at": "2027-01-01T00:00:00+00:00"},
        ],
        "record_sha256": OTHER,
        "scan": {"files": 5, "bytes": 60, "hits": 0},
        "started_at": "2026-03-04T04:06:10+00:00",
        "status": "complete",
        "tool": "unlearning 0.1.0",
    }
    made = read(statements.purged(record, OTHER, WEIGHTS))
    assert made == whole("urn:unlearning:purge:1", said, model_safetensors=WEIGHTS)


def test_the_index_is_what_it_was_given() -> None:
    made = json.loads(statements.index({"status": "issued"}, {"a": OTHER, "b": WEIGHTS}))
    assert made == whole("urn:unlearning:erasure-certificate:1", {"status": "issued"}, a=OTHER, b=WEIGHTS)
