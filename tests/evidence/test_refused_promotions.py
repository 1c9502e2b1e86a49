"""What is not promoted: batches that do not verify, are about another, or that a threshold refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import batch_by_hand
from tests.evidence.batch_by_hand import certified
from unlearning import digests, files
from unlearning.errors import EvidenceError
from unlearning.evidence import promotion
from unlearning.params import Params
from unlearning.workspace import BatchFolder

NAME = "toys-mae"


@pytest.fixture
def params(by_hand: tuple[Params, Path]) -> Params:
    return by_hand[0]


@pytest.fixture(autouse=True)
def signed(monkeypatch: pytest.MonkeyPatch) -> list[BatchFolder]:
    """Batches whose bundle was asked for: none lies here, and test_attest.py has those that do not hold."""
    asked = list[BatchFolder]()
    monkeypatch.setattr(promotion.bundle_writing, "require_signed", asked.append)
    return asked


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return str(caught.value)


def test_what_does_not_verify_is_not_promoted(batch: BatchFolder, params: Params, signed: list[BatchFolder]) -> None:
    record = batch.lineage("retain_proxy_set")
    record.write_bytes(record.read_bytes() + b"\n")  # two things: how it is spelled, and its hash in the certificate
    edited = "lineage/retain_proxy_set.json: not canonical JSON, it was edited"
    told = refused(lambda: promotion.promote(params, batch))
    assert told == f"batch b1 does not verify: {edited} (and 1 more); nothing was promoted"
    record.unlink()
    told = refused(lambda: promotion.promote(params, batch))
    assert told == (
        f"batch b1 does not verify: retain_proxy_set: {record}: there is no such file; nothing was promoted"
    )
    assert signed == []
    assert not promotion.file(batch.workspace, NAME).exists()


def test_a_batch_under_another_name_or_for_another_model(batch: BatchFolder, params: Params) -> None:
    other = batch.workspace.batch("b9")
    shutil.copytree(batch.path, other.path)
    assert refused(lambda: promotion.promote(params, other)) == (
        f"{other.certificate}: is about batch 'b1'; nothing was promoted"
    )
    faces = batch_by_hand.toy_params(**{"model.name": "faces"})
    assert refused(lambda: promotion.promote(faces, batch)) == (
        "batch b1 was certified for the model 'toys-mae', not for 'faces'; nothing was promoted"
    )


def test_what_its_gates_refuse_is_not_promoted(batch: BatchFolder, params: Params) -> None:
    batch_by_hand.report(batch, params, forgetting=0.5, retention=0.5, over_forgetting=9.0)
    certified(batch, params)
    told = refused(lambda: promotion.promote(params, batch))
    assert told.startswith("batch b1 is refused by its gates (retention: 0.500 (>= 0.98) ")
    assert "; forgetting: 0.500 (>= 0.9) " in told
    assert told.endswith("); nothing was promoted")
    assert "over_forgetting" not in told
    loose = batch_by_hand.toy_params(**{"gates.forgetting_at_least.value": 0.1, "gates.retention_at_least.value": 0.1})
    assert refused(lambda: promotion.promote(loose, batch)) == (
        "batch b1 is refused by its gates (the certificate's own thresholds refuse it); nothing was promoted"
    )


def test_todays_thresholds_count_too(batch: BatchFolder) -> None:
    strict = batch_by_hand.toy_params(**{"gates.forgetting_at_least.value": 0.96})
    assert "refused by its gates (forgetting: 0.950" in refused(lambda: promotion.promote(strict, batch))


def test_a_judgement_is_of_the_files_unless_records_are_asked_for(batch: BatchFolder, params: Params) -> None:
    assert promotion.judge(params, batch).passed
    files.write_bytes(batch.reference / "more", b"1")
    assert promotion.judge(params, batch, rehash=False).passed
    assert not promotion.judge(params, batch).passed


def test_what_is_served_hashes_to_what_is_said_even_if_it_changed_since_it_was_judged(
    batch: BatchFolder, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not what was judged, then, and whoever promotes next is told: a record alone would hide it."""
    judge = promotion.judge

    def judged(*told: Any) -> Any:
        verdict = judge(*told)
        files.write_bytes(batch.unlearned / "model.safetensors", b"changed")
        files.write_bytes(batch.unlearned / "more", b"1")
        return verdict

    with monkeypatch.context() as patched:
        patched.setattr(promotion, "judge", judged)
        served = promotion.promote(params, batch).champion
    kept = digests.of_folder(batch.workspace.root / served.checkpoint)
    assert [one.path for one in kept] == ["a/b/config.json", "model.safetensors", "more"]
    assert digests.of_listing(kept) == served.sha256
    assert "does not verify" in refused(lambda: promotion.promote(params, batch))
