"""Promotion believes nothing that it can recompute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.toy_batch import TOYS, certified, fake_training, file_requests, manifests, request_body, request_id, snapshot
from unlearning import digests, files
from unlearning.errors import EvidenceError, StorageError, UnlearningError
from unlearning.evidence import history, lineage, promotion
from unlearning.log import silent
from unlearning.params import Params
from unlearning.requests.ledger import Ledger
from unlearning.verbs import certify, promote
from unlearning.workspace import BatchFolder


@pytest.fixture
def whole(tmp_path: Path, repository: Path) -> tuple[Params, BatchFolder]:
    return certified(tmp_path, repository)


def _second(params: Params, first: BatchFolder, original: dict[str, Any] | None = None) -> BatchFolder:
    """Another batch, certified, that started from an original of its own."""
    batch = first.workspace.batch("b2")
    other = request_body(request_id=request_id(2), selectors=[{"class": "circle", "approved_by": "privacy-officer"}])
    file_requests(first.workspace, other)
    manifests(params, batch)
    fake_training(params, batch, forgetting=0.96)
    if original is not None:
        record = json.loads(batch.lineage("original_checkpoint").read_bytes())
        files.write_json(batch.lineage("original_checkpoint"), {**record, "facts": original})
    certify.run(params, batch, silent)
    return batch


def test_the_unlearned_checkpoint_becomes_the_champion_and_the_requests_end(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    done = promote.run(params, batch)
    served = promotion.champion(batch.workspace, params.model.name)
    unlearned, original = (lineage.read(batch, f"{role}_checkpoint") for role in ("unlearned", "original"))

    assert done.changed
    assert served == done.champion
    assert (served.version, served.sha256, served.batch) == (1, unlearned.sha256, "b1")
    assert served.certificate_sha256 == digests.of_file(batch.certificate)
    folder = batch.workspace.root / served.checkpoint
    assert digests.of_listing(digests.of_folder(folder)) == unlearned.sha256
    assert served.previous is not None
    assert (served.previous["version"], served.previous["sha256"]) == (0, original.sha256)
    assert [entry.state for entry in Ledger(batch.workspace.ledger).entries("b1")] == ["promoted"]


def test_promoting_again_changes_nothing(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    promote.run(params, batch)
    before = snapshot(batch.workspace.root)
    again = promote.run(params, batch)

    assert not again.changed
    assert snapshot(batch.workspace.root) == before


def test_a_refused_batch_is_not_promoted(tmp_path: Path, repository: Path) -> None:
    params, batch = certified(tmp_path, repository, forgetting=0.5)
    before = snapshot(batch.workspace.root)
    with pytest.raises(EvidenceError, match=r"refused by its gates \(forgetting: 0\.500"):
        promote.run(params, batch)
    assert snapshot(batch.workspace.root) == before
    assert promotion.champion(batch.workspace, params.model.name) is None


def test_stricter_thresholds_of_today_refuse_what_the_certificate_passed(
    whole: tuple[Params, BatchFolder], repository: Path
) -> None:
    _, batch = whole
    strict = Params.read(
        repository / "params.yaml",
        {**TOYS, "gates.forgetting_at_least.value": 0.99},
    )
    with pytest.raises(EvidenceError, match=r"forgetting: 0\.950 \(>= 0\.99\)"):
        promotion.promote(strict, batch)


def test_looser_thresholds_of_today_do_not_undo_a_refusal(tmp_path: Path, repository: Path) -> None:
    _, batch = certified(tmp_path, repository, forgetting=0.5)
    loose = Params.read(
        repository / "params.yaml",
        {**TOYS, "gates.forgetting_at_least.value": 0.1},
    )
    with pytest.raises(EvidenceError, match="the certificate's own thresholds refuse it"):
        promotion.promote(loose, batch)


@pytest.mark.parametrize(
    "victim",
    [
        "unlearned_checkpoint/model.safetensors",
        "original_checkpoint/model.safetensors",
        "evaluation_report/report.json",
        "certificate/certificate.json",
        "forget_manifest/forget.parquet",
    ],
)
def test_one_changed_byte_anywhere_stops_it(whole: tuple[Params, BatchFolder], victim: str) -> None:
    params, batch = whole
    path = batch.path / victim
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UnlearningError):
        promotion.promote(params, batch)
    assert not promotion.file(batch.workspace, params.model.name).exists()


def test_a_batch_without_certificate_is_not_promoted(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    batch.certificate.unlink()
    with pytest.raises(EvidenceError, match="not the folder of a certified batch"):
        promotion.promote(params, batch)


def test_a_batch_is_not_promoted_under_another_models_name(whole: tuple[Params, BatchFolder], repository: Path) -> None:
    _, batch = whole
    other = Params.read(repository / "params.yaml", {**TOYS, "model.name": "faces"})
    with pytest.raises(EvidenceError, match=r"certified for the model 'digits-mae', not for\s+'faces'"):
        promotion.promote(other, batch)


def test_two_batches_from_one_base_cannot_both_be_served(whole: tuple[Params, BatchFolder]) -> None:
    params, first = whole
    promote.run(params, first)
    served = promotion.file(first.workspace, params.model.name).read_bytes()
    second = _second(params, first)
    with pytest.raises(EvidenceError, match="promoting would undo it: make the batch again from version 1"):
        promote.run(params, second)
    assert promotion.file(first.workspace, params.model.name).read_bytes() == served


def test_the_next_batch_starts_from_the_champion_and_replaces_it(whole: tuple[Params, BatchFolder]) -> None:
    params, first = whole
    promote.run(params, first)
    second = _second(params, first)
    # The toy trains no original from the champion: serve, as version 1, the one that this batch started from.
    original = lineage.read(second, "original_checkpoint")
    path = promotion.file(first.workspace, params.model.name)
    files.write_json(path, {**files.read_json(path), "sha256": original.sha256})
    history.file(first.workspace, params.model.name).unlink()  # it begins again with what champion.json says
    done = promotion.promote(params, second)
    assert (done.champion.version, done.champion.batch) == (2, "b2")
    assert done.champion.previous is not None
    assert (done.champion.previous["version"], done.champion.previous["batch"]) == (1, "b1")


def test_a_batch_from_a_champion_that_is_gone_is_not_promoted(whole: tuple[Params, BatchFolder]) -> None:
    params, first = whole
    second = _second(params, first, original={"source": "champion", "version": 7})
    with pytest.raises(EvidenceError, match=r"started from version 7, but no champion\.json"):
        promotion.promote(params, second)


def test_a_damaged_champion_is_not_called_promoted(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    done = promotion.promote(params, batch)
    weights = batch.workspace.root / done.champion.checkpoint / "model.safetensors"
    weights.unlink()  # a hard link: the batch keeps its own name of the bytes
    weights.write_bytes(b"something else")
    with pytest.raises(EvidenceError, match="restore the checkpoint"):
        promotion.promote(params, batch)


def test_a_champion_file_of_another_shape_is_named(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    files.write_json(promotion.file(batch.workspace, params.model.name), {"version": 1})
    with pytest.raises(EvidenceError, match=r"champion\.json: not a champion record"):
        promotion.promote(params, batch)


def test_two_promotions_at_once_are_one_too_many(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    lock = batch.workspace.model(params.model.name) / ".promotion.lock"
    with files.locked(lock, "a test"), pytest.raises(StorageError, match="being made by another process"):
        promotion.promote(params, batch)


def test_killed_before_its_history_a_promotion_is_finished_by_the_next(
    whole: tuple[Params, BatchFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    params, batch = whole
    with monkeypatch.context() as patch:
        patch.setattr(promotion.history, "follow", _killed_when_served)
        with pytest.raises(KeyboardInterrupt):
            promote.run(params, batch)
    assert not history.file(batch.workspace, params.model.name).exists()
    served = promotion.champion(batch.workspace, params.model.name)
    done = promote.run(params, batch)
    assert not done.changed
    assert done.champion == served
    assert [row["version"] for row in history.read(batch.workspace, params.model.name)] == [0, 1]
    assert [entry.state for entry in Ledger(batch.workspace.ledger).entries("b1")] == ["promoted"]


def _killed_when_served(_: Any, __: str, champion: dict[str, Any] | None) -> list[Any]:
    if champion is not None:
        raise KeyboardInterrupt
    return []
