"""How a model was made, as a statement: from records of a run that are written here by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.evidence.statement_inputs import COMMIT, OTHER, SAID, SETS, WEIGHTS, file, read
from unlearning.digests import FileDigest
from unlearning.evidence import statements
from unlearning.evidence.lineage import Record


def record(asset: str, *outputs: FileDigest, facts: dict[str, Any] | None = None, **code: Any) -> Record:
    told = {"revision": COMMIT, "dirty": False, "source_sha256": OTHER, "version": "0.1.0", **code}
    made_at = "2026-03-04T05:06:07.9+01:00"
    return Record(asset, "b1", "1e" * 32, "2e" * 32, list(outputs), {}, "3e" * 32, told, made_at, facts or {})


LOG = FileDigest("log.jsonl", "4e" * 32, 9)
REPORT = FileDigest("report.json", "5e" * 32, 9)
ORIGINAL = FileDigest("model.safetensors", "6e" * 32, 9)
CHECKPOINT = [FileDigest("config.json", "7e" * 32, 2), FileDigest("model.safetensors", WEIGHTS, 9)]
BUDGET = {"seed": 7, "steps": 400, "batch_size": 2**53, "learning_rate": 0.001}
PLAN = {
    "tier": "approximate",
    "unlearn": {
        "method": {"kind": "noise_target", "alpha": 1},
        "merge": {"kind": "none"},
        "scope": {"kind": "all"},
        "budget": BUDGET,
    },
}
MORE: dict[str, Any] = {"locks": {"requirements.lock": "9e" * 32}, "versions": {"torch": "2.9"}, "trace": None}


def provenance(unlearned: Record, plan: dict[str, Any] = PLAN, **more: Any) -> dict[str, Any]:
    records = {
        "unlearned_checkpoint": unlearned,
        "original_checkpoint": record("original_checkpoint", REPORT, ORIGINAL),
        "evaluation_report": record("evaluation_report", ORIGINAL, REPORT),
    }
    return read(statements.provenance(SAID, records, SETS, plan, {**MORE, **more}))


def test_how_the_model_was_made() -> None:
    facts = {"device": "cpu", "processes": 2, "resumed_from": None, "steps": 2**53 - 1, "seconds": 60, "loss": 0.5}
    told = provenance(record("unlearned_checkpoint", *CHECKPOINT, LOG, facts=facts), trace="ae" * 32)
    roots = [file(name, SETS.root(name)) for name in ("dataset", "forget", "retain")]
    definition = {
        "buildType": "urn:unlearning:unlearn:1",
        "externalParameters": {
            "model": "toys-mae",
            "goal": "never_seen",
            "batch": "b1",
            "method": "noise_target",
            "merge": "none",
            "scope": "all",
            "seed": 7,
            "steps": 400,
            "batch_size": "9007199254740992",
            "learning_rate": "0.001",
            "tier": "approximate",
            "params_sha256": "8e" * 32,
        },
        "internalParameters": {
            "git_commit": COMMIT,
            "git_dirty": False,
            "source_sha256": OTHER,
            "version": "0.1.0",
            "device": "cpu",
            "processes": 2,
            "resumed_from": None,
            "steps": 2**53 - 1,
            "torch": "2.9",
        },
        "resolvedDependencies": [
            *roots,
            file("original_checkpoint", "6e" * 32),
            {"digest": {"gitCommit": COMMIT}, "name": "code"},
            file("requirements.lock", "9e" * 32),
        ],
    }
    details = {
        "builder": {"id": "urn:unlearning:local-pipeline:1"},
        "byproducts": [
            file("log.jsonl", "4e" * 32),
            file("training_trace", "ae" * 32),
            file("report.json", "5e" * 32),
        ],
        "metadata": {
            "startedOn": "2026-03-04T04:05:07+00:00",
            "finishedOn": "2026-03-04T04:06:07+00:00",
            "invocationId": f"b1/{WEIGHTS[:16]}",
        },
    }
    assert told["predicate"] == {"buildDefinition": definition, "runDetails": details}
    assert told["predicateType"] == "https://slsa.dev/provenance/v1"
    assert told["subject"] == [
        file("config.json", "7e" * 32),
        file("model.safetensors", WEIGHTS),
        file("log.jsonl", "4e" * 32),
    ]


def test_a_run_of_which_little_is_known() -> None:
    """No log, no trace, no budget, no seconds, a revision that is none; and what is not there is not said."""
    way = {name: part for name, part in PLAN["unlearn"].items() if name != "budget"}  # type: ignore[attr-defined]
    unlearned = record("unlearned_checkpoint", *CHECKPOINT, revision="unknown", dirty=1, facts={"seconds": "long"})
    told = provenance(unlearned, {"tier": "exact", "unlearn": way})["predicate"]
    definition, details = told["buildDefinition"], told["runDetails"]
    asked = definition["externalParameters"]
    assert [asked[name] for name in ("seed", "steps", "batch_size", "learning_rate")] == [None] * 4
    assert asked["tier"] == "exact"
    inside = {"git_commit": "unknown", "git_dirty": True, "source_sha256": OTHER, "version": "0.1.0", "torch": "2.9"}
    assert definition["internalParameters"] == inside
    assert [one["name"] for one in definition["resolvedDependencies"]] == [
        "dataset", "forget", "retain", "original_checkpoint", "requirements.lock",
    ]  # fmt: skip
    assert details["byproducts"] == [file("report.json", "5e" * 32)]
    assert details["metadata"]["startedOn"] == details["metadata"]["finishedOn"] == "2026-03-04T04:06:07+00:00"


@pytest.mark.parametrize("revision", [COMMIT[:-1], COMMIT + "a", "g" * 40, "X" * 40, COMMIT.upper(), ""])
def test_what_is_no_revision_is_no_dependency(revision: str) -> None:
    told = provenance(record("unlearned_checkpoint", *CHECKPOINT, revision=revision))["predicate"]["buildDefinition"]
    assert "code" not in [one["name"] for one in told["resolvedDependencies"]]
    assert told["internalParameters"]["git_commit"] == revision


def test_code_that_nobody_knows_is_said_to_be_none() -> None:
    unknown = record("unlearned_checkpoint", *CHECKPOINT)
    object.__setattr__(unknown, "code", {})
    told = provenance(unknown)["predicate"]["buildDefinition"]["internalParameters"]
    assert told == {
        "git_commit": "None", "git_dirty": False, "source_sha256": "None", "version": "None", "torch": "2.9",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "began"), [(1.5, "04:06:06"), (0, "04:06:07"), (None, "04:06:07"), (True, "04:06:06")]
)
def test_a_run_began_so_many_seconds_before_its_end(seconds: Any, began: str) -> None:
    told = provenance(record("unlearned_checkpoint", *CHECKPOINT, facts={"seconds": seconds}))
    assert told["predicate"]["runDetails"]["metadata"]["startedOn"] == f"2026-03-04T{began}+00:00"


@pytest.mark.parametrize(
    ("number", "told"),
    [(2**53 - 1, 2**53 - 1), (2**53, str(2**53)), (1 - 2**53, 1 - 2**53), (-(2**53), str(-(2**53))), (0.5, "0.5")],
)
def test_a_number_that_not_every_reader_holds_is_spelled(number: float, told: int | str) -> None:
    facts = {"steps": number}
    made = provenance(record("unlearned_checkpoint", *CHECKPOINT, facts=facts))
    assert made["predicate"]["buildDefinition"]["internalParameters"]["steps"] == told
