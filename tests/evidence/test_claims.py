"""What a certificate claims follows from evidence, and what it does not claim is spelled out."""

from __future__ import annotations

from typing import Any

import pytest

from unlearning.digests import FileDigest
from unlearning.evidence import claims
from unlearning.evidence.lineage import Record
from unlearning.gates import Criterion, Verdict

LOG = FileDigest("log.jsonl", "ab" * 32, 3)
EQUAL, DIFFERS = {"replay": "bit-equal"}, {"replay": "differs"}


def record(*outputs: FileDigest) -> Record:
    return Record("unlearned_checkpoint", "b1", "ab" * 32, "cd" * 32, list(outputs), {}, "ef" * 32, {}, "2026-01-01")


def verdict(passed: bool = True, **attacks: str) -> Verdict:
    """`attacks` are criteria on kinds of attack, by status."""
    rows = tuple(
        Criterion(f"attack_{kind}", status, False, 0.2, 0.1, 0.3, "<= 0.1", "a test", f"{kind} found it")  # type: ignore[arg-type]
        for kind, status in attacks.items()
    )
    return Verdict("never_seen", passed, rows)


@pytest.mark.parametrize(
    ("passed", "tier", "exact", "outputs", "level"),
    [
        (False, "retrain", EQUAL, [LOG], "none"),
        (True, "approximate", None, [LOG], "C1"),
        (True, "exact", DIFFERS, [LOG], "C1"),
        (True, "retrain", DIFFERS, [LOG], "C1"),
        (True, "exact", EQUAL, [LOG], "C2"),
        (True, "retrain", EQUAL, [], "C2"),
        (True, "retrain", {"replay": "one training"}, [LOG], "C3"),
    ],
)
def test_the_level_is_what_the_evidence_bears(
    passed: bool, tier: str, exact: dict[str, Any] | None, outputs: list[FileDigest], level: str
) -> None:
    assert claims.level(verdict(passed), tier, exact, record(*outputs)) == level


def test_attacks_that_were_not_made_not_judged_or_not_withstood_are_named() -> None:
    entries = [
        {"kind": "relearn"},
        {"kind": "exposure"},
        {"kind": "interpolate"},
        {"kind": "membership"},
        {"kind": "membership", "not_made": "the generator is not Denoising"},
        {"kind": "partial_diffusion", "not_made": "the generator is not Diffusing"},
    ]
    judged = verdict(relearn="pass", exposure="fail", membership="not_measured")
    said = claims.not_claimed("C1", {"attacks": entries}, judged)
    assert (
        "resistance to any attack but exposure, interpolate, membership, relearn, or to these with more effort" in said
    )
    assert "resistance to exposure: exposure found it" in said
    assert "resistance to membership: membership found it" in said
    assert "resistance to interpolate: what it found stands in the report, and no gate judges it" in said
    assert "resistance to partial_diffusion: not made, as the generator is not Diffusing" in said
    assert not any(sentence.startswith("resistance to relearn") for sentence in said)
    assert len([one for one in said if "membership" in one]) == 2


def test_a_report_without_attacks_claims_resistance_to_none() -> None:
    for report in ({}, {"attacks": []}, {"attacks": "all"}):
        assert "resistance to any attack: none was made" in claims.not_claimed("C1", report, verdict())


def test_only_a_training_that_is_trusted_says_what_its_log_is() -> None:
    said = {level: claims.not_claimed(level, {}, verdict()) for level in ("C1", "C3")}
    assert len(said["C3"]) == len(said["C1"]) + 1
    assert "training log" in said["C3"][-1]
    chained = claims.not_claimed(
        "C3", {}, verdict(), claims.traced(record(LOG, FileDigest("trace.json", "ab" * 32, 3)))
    )
    assert chained[:-1] == said["C1"]
    assert "training trace" in chained[-1]
    assert not claims.traced(record(LOG))


def test_what_an_answer_without_a_match_does_not_say() -> None:
    shortest = claims.of_no_match(provable=True, one_machine=False)
    assert len(shortest) == 3
    assert claims.of_no_match(provable=False, one_machine=False)[3:] == [
        "that anybody but the operator can check it: no selector of the request is of bytes or of a key"
    ]
    assert claims.of_no_match(provable=True, one_machine=True)[3:] == [
        "that two people agreed: both keys lie on one machine, so whoever controls it can sign with both"
    ]
    assert len(claims.of_no_match(provable=False, one_machine=True)) == 5
