"""Whose signatures a bundle bears: those that count, once each, and nobody reads a status off what does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evidence.forged_bundles import BREAKS
from tests.evidence.known_sets import OTHER, drafted, found
from tests.evidence.sealing import keyid, trusted
from unlearning.errors import EvidenceError
from unlearning.evidence import bundle, trust
from unlearning.evidence.bundle_verification import NOT_THE_FORM, Beside, Verification, verify_file


def test_a_bundle_that_holds_says_so_and_by_whose_keys() -> None:
    draft = drafted()
    draft.keys.append(trusted("retired", "pipeline", valid_until="2026-01-02T00:00:00+00:00"))
    held = found(draft)
    assert (held.verified, held.problems) == (True, ())
    assert sorted(key.keyid for key in held.keys) == sorted((keyid("pipeline"), keyid("officer")))
    assert held.bundle == bundle.read(draft.sealed())
    assert held.as_json() == {
        "schema": "verification/1",
        "verified": True,
        "status": "issued",
        "claim_level": draft.index["claim_level"],
        "problems": [],
        "not_checked": list(held.not_checked),
    }


def test_of_a_bundle_that_does_not_hold_no_status_is_read() -> None:
    draft = drafted()
    draft.late.append(lambda index: index.update(not_claimed=[]))
    held = found(draft)
    told = ["spec 7.10: a bundle that leaves nothing unclaimed"]
    assert (held.verified, held.problems) == (False, tuple(told))
    assert held.as_json() == {
        "schema": "verification/1",
        "verified": False,
        "status": None,
        "claim_level": None,
        "problems": told,
        "not_checked": list(held.not_checked),
    }


def test_what_is_no_bundle_says_nothing() -> None:
    held = found(drafted(), b"")
    assert held == Verification(
        None, ("spec 6: 1 to 64 lines, each ended by one line feed, are right",), not_checked=(NOT_THE_FORM,)
    )
    assert held.as_json()["status"] is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("index_by_the_pipeline_alone", ["spec 6: signed by pipeline, where {both} sign (line {last})"]),
        ("index_by_two_pipelines", ["spec 6: signed by pipeline and pipeline, where {both} sign (line {last})"]),
        (
            "index_by_three",
            ["spec 6: signed by pipeline and pipeline and privacy_officer, where {both} sign (line {last})"],
        ),
        ("statement_by_the_officer", ["spec 6: signed by privacy_officer, where the pipeline alone signs (line 1)"]),
        (
            "statement_by_two",
            ["spec 6: signed by pipeline and privacy_officer, where the pipeline alone signs (line 2)"],
        ),
        ("statement_by_a_stranger", ["spec 6: key {stranger} is not in the trust file (line 1)"]),
        ("index_by_a_stranger_too", ["spec 6: key {stranger} is not in the trust file (line {last})"]),
        ("key_no_longer_good", ["spec 5: key {officer} was not good at {now} (line {last})"]),
        ("key_revoked", ["spec 5: key {officer} was not good at {now} (line {last})"]),
        ("signature_flipped", ["spec 6: the signature of key {pipeline} is not over this payload (line 1)"]),
    ],
)
def test_every_signature_is_one_that_counts(name: str, told: list[str]) -> None:
    draft = BREAKS[name].broken(0)
    words = {word: keyid(word)[:12] for word in ("pipeline", "officer", "stranger")}
    words |= {"both": "the pipeline and the privacy officer, once each,", "now": draft.index["issued_at"]}
    last = str(len(draft.statements))
    assert list(found(draft).problems) == [one.format(last=last, **words) for one in told]


def test_a_key_that_is_not_good_is_named_for_every_line_that_it_signed() -> None:
    draft = BREAKS["key_not_yet_good"].broken(0)
    now, count = draft.index["issued_at"], len(draft.statements)
    assert list(found(draft).problems) == [
        f"spec 5: key {keyid('pipeline')[:12]} was not good at {now} (line {number})" for number in range(1, count + 1)
    ]


def test_a_file_is_read_no_further_than_a_bundle_may_be_long(tmp_path: Path) -> None:
    draft, path = drafted(), tmp_path / "bundle"
    known = trust.read(draft.trust(), "trust.json")
    path.write_bytes(draft.sealed())
    assert verify_file(path, known, Beside(model=OTHER)) == found(draft, model=OTHER)
    path.write_bytes(bytes(bundle.MOST_BYTES + 1000))
    assert verify_file(path, known).problems == ("spec 6: 4194305 bytes; at most 4194304 are right",)
    for missing, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(EvidenceError) as caught:
            verify_file(missing, known)
        assert str(caught.value) == f"{missing}: cannot be read ({why}); a bundle's file is right"
