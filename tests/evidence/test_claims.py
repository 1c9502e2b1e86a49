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


_NOBODY = "that the statements are true: two keys signed what the pipeline says it did, and nobody re-ran it"
_STORED = "that the data set committed to is all data that was ever used: it is what was stored when the batch was made"
_ONE_MACHINE = (
    "that two people agreed: both keys lie on one machine, so whoever controls it can sign with both; an officer's key "
    "kept elsewhere would show it"
)
_SERVED = "that this model is served anywhere: there is no promotion statement"
_PLACES = "that copies outside the places which the purge statement lists are gone, or that backups it names have ended"
_NOTHING_PURGED = "that stored images, older checkpoints, caches and backups were purged: there is no purge statement"


@pytest.mark.parametrize("one_machine", [True, False])
@pytest.mark.parametrize(("promoted", "purged"), [(False, False), (True, False), (True, True)])
def test_a_bundle_says_better_what_its_certificate_says_of_signing_and_purging(
    one_machine: bool, promoted: bool, purged: bool
) -> None:
    certified = ["first: of two: parts", claims.PURGED, "second", claims.SIGNED, "third: at the end"]
    assert claims.of_bundle(certified, one_machine, promoted, purged) == [
        "first: of two: parts",
        "second",
        "third: at the end",
        _NOBODY,
        _STORED,
        *([_ONE_MACHINE] if one_machine else []),
        *([] if promoted else [_SERVED]),
        _PLACES if purged else _NOTHING_PURGED,
    ]


def test_what_a_certificate_says_of_itself_is_what_a_bundle_says_better() -> None:
    for sentence in (claims.PURGED, claims.SIGNED):
        assert sentence in claims.not_claimed("C1", {}, verdict())
        longer = f"{sentence}: in other words"
        assert not {sentence, longer} & set(claims.of_bundle([sentence, longer], False, False, False))
        kept = sentence.partition(":")[0] + " and more: this is another sentence"
        assert kept in claims.of_bundle([kept], False, False, False)


_AGAIN = "resistance to any attack on what {} earlier batches of this model forgot: their images were drawn again"


@pytest.mark.parametrize("block", [None, [], {}, {"batches": []}, {"batches": None}, "batches"])
def test_without_an_earlier_batch_nothing_is_said_of_one(block: Any) -> None:
    assert claims.not_claimed("C1", {"earlier": block}, verdict()) == claims.not_claimed("C1", {}, verdict())


@pytest.mark.parametrize("count", [1, 3])
def test_what_earlier_batches_forgot_was_only_drawn_again(count: int) -> None:
    """Those of which images are left to draw."""
    batches = [*[{}] * count, {"batch": "b1", "purged": {"last_measured": "b2"}}]
    said = claims.not_claimed("C1", {"earlier": {"batches": batches}}, verdict())
    (more,) = [one for one in said if one not in claims.not_claimed("C1", {}, verdict())]
    assert more.startswith(_AGAIN.format(count))


def test_what_is_no_longer_stored_of_earlier_batches_was_not_looked_at() -> None:
    rows = tuple(
        Criterion(name, "not_measured", False, None, None, None, "none", "a test", f"{name} is purged")
        for name in ("earlier_purged", "earlier", "retention")
    )
    said = claims.not_claimed("C1", {}, Verdict("never_seen", True, rows))
    assert [one for one in said if one not in claims.not_claimed("C1", {}, verdict())] == [
        "that what earlier batches forgot is still forgotten: earlier_purged is purged"
    ]
