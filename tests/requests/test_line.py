"""seal -> resolve -> retain on real files: what is frozen, what is disjoint, and what a refusal leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.toy_batch import (
    fake_training,
    file_requests,
    manifests,
    picture_tree,
    request_body,
    request_id,
    snapshot,
    toy_params,
    toy_workspace,
)
from unlearning import files
from unlearning.data import index, manifest
from unlearning.errors import EvidenceError, ManifestError, RequestError
from unlearning.log import silent
from unlearning.params import Params
from unlearning.requests import freezing
from unlearning.requests.ledger import Ledger
from unlearning.verbs import certify, ingest, request, resolve, retain, seal
from unlearning.workspace import BatchFolder, Workspace

OFFICER = {"approved_by": "privacy-officer"}


@pytest.fixture
def params(repository: Path) -> Params:
    return toy_params(repository)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return toy_workspace(tmp_path)


@pytest.fixture
def batch(workspace: Workspace) -> BatchFolder:
    return workspace.batch("b1")


def states(workspace: Workspace) -> list[str]:
    return [entry.state for entry in Ledger(workspace.ledger).entries()]


def test_from_requests_to_three_disjoint_sets(params: Params, batch: BatchFolder) -> None:
    by_person = request_body(request_id=request_id(2), selectors=[{"subject": "person-0"}])
    file_requests(batch.workspace, request_body(), by_person)
    manifests(params, batch)
    forget, retained, held_out = (manifest.read(path) for path in (batch.forget, batch.retain, batch.holdout))
    table = index.read(batch.workspace.dataset("toys"))
    assert set(forget["class"].to_pylist()) == {"star", "circle"}
    assert len(forget) == 15
    assert set(forget["split"].to_pylist()) == {"train", "holdout"}
    assert set(retained["split"].to_pylist()) == {"train"}
    assert set(held_out["split"].to_pylist()) == {"holdout"}
    assert len(forget) + len(retained) + len(held_out) == len(table)
    manifest.refuse_overlap({"forget": forget, "retain": retained, "holdout": held_out})
    resolution = files.read_json(batch.forget.with_name("resolution.json"))
    assert [one["train"] + one["holdout"] for one in resolution["requests"]] == [10, 5]
    assert files.read_json(batch.retain.with_name("sets.json"))["sets"]["retain"]["images"] == len(retained)
    assert states(batch.workspace) == ["scheduled", "scheduled"]


def test_again_is_the_same_and_changes_nothing(params: Params, batch: BatchFolder) -> None:
    file_requests(batch.workspace, request_body())
    manifests(params, batch)
    before = snapshot(batch.workspace.root)
    manifests(params, batch)
    assert snapshot(batch.workspace.root) == before


def test_the_manifests_are_the_same_bytes_in_another_root(params: Params, batch: BatchFolder, tmp_path: Path) -> None:
    other = toy_workspace(tmp_path / "other").batch("b1")
    for one in (batch, other):
        file_requests(one.workspace, request_body())
        manifests(params, one)
    for name in ("requests", "forget", "retain", "holdout"):
        assert getattr(batch, name).read_bytes() == getattr(other, name).read_bytes()


def test_a_sealed_batch_stays_as_it_is(params: Params, batch: BatchFolder) -> None:
    file_requests(batch.workspace, request_body())
    seal.run(params, batch, silent)
    sealed = batch.requests.read_bytes()
    file_requests(batch.workspace, request_body(request_id=request_id(2)))
    seal.run(params, batch, silent)
    assert batch.requests.read_bytes() == sealed
    assert states(batch.workspace) == ["resolving", "verified"]


def test_a_crash_between_ledger_and_files_is_healed(params: Params, batch: BatchFolder) -> None:
    file_requests(batch.workspace, request_body())
    Ledger(batch.workspace.ledger).seal("b1", params.model.name, "toys")
    file_requests(batch.workspace, request_body(request_id=request_id(2)))
    seal.run(params, batch, silent)
    assert len(batch.requests.read_bytes().splitlines()) == 1


def test_a_request_that_matches_nothing_ends_as_not_found(params: Params, batch: BatchFolder) -> None:
    file_requests(batch.workspace, request_body(selectors=[{"sample_key": "no-such-key"}]))
    seal.run(params, batch, silent)
    with pytest.raises(RequestError, match="none of its 1 requests matches"):
        resolve.run(params, batch, silent)
    assert states(batch.workspace) == ["not_found"]
    assert not batch.asset("forget_manifest").exists()
    with pytest.raises(RequestError, match=r"has ended \(not_found\)"):
        resolve.run(params, batch, silent)


def test_a_request_that_matches_nothing_does_not_hold_up_the_others(params: Params, batch: BatchFolder) -> None:
    nobody = request_body(request_id=request_id(2), selectors=[{"subject": "nobody"}])
    file_requests(batch.workspace, request_body(), nobody)
    manifests(params, batch)
    assert states(batch.workspace) == ["scheduled", "not_found"]
    assert len(manifest.read(batch.forget)) == 10


def test_a_request_for_a_whole_data_set_is_refused_until_it_is_called_off(params: Params, batch: BatchFolder) -> None:
    everything = [{"class": name, **OFFICER} for name in ("circle", "square", "triangle", "star")]
    file_requests(batch.workspace, request_body(), request_body(request_id=request_id(2), selectors=everything))
    seal.run(params, batch, silent)
    before = snapshot(batch.workspace.root)
    with pytest.raises(RequestError, match=f"{request_id(2)} covers 40 of 40 images"):
        resolve.run(params, batch, silent)
    assert snapshot(batch.workspace.root) == before
    request.cancel(request_id(2), batch.workspace)
    resolve.run(params, batch, silent)
    assert states(batch.workspace) == ["scheduled", "cancelled"]


@pytest.mark.parametrize(("change", "left"), [("hold", "requeued"), ("cancel", "cancelled")])
def test_what_leaves_while_the_manifest_is_made_is_not_in_it(
    params: Params, batch: BatchFolder, monkeypatch: pytest.MonkeyPatch, change: str, left: str
) -> None:
    circles = request_body(request_id=request_id(2), selectors=[{"class": "circle", **OFFICER}])
    file_requests(batch.workspace, request_body(), circles)
    seal.run(params, batch, silent)
    written = []

    def write(path: Path, table: pa.Table) -> None:
        if not written:
            request.change(request_id(2), batch.workspace, change, "at_the_last_moment")
        written.append(len(table))
        manifest.write(path, table)

    with monkeypatch.context() as patch:
        patch.setattr(resolve, "manifest", SimpleNamespace(write=write, read=manifest.read))
        resolve.run(params, batch, silent)
    assert written == [20, 10]
    assert set(manifest.read(batch.forget)["class"].to_pylist()) == {"star"}
    assert [entry.state for entry in Ledger(batch.workspace.ledger).entries("b1")] == ["scheduled", left]
    with pytest.raises(RequestError):
        request.change(request_id(0x11111111), batch.workspace, change, "too_late")


def test_what_leaves_between_a_killed_run_and_the_next_is_not_in_the_manifest(
    params: Params, batch: BatchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    circles = request_body(request_id=request_id(2), selectors=[{"class": "circle", **OFFICER}])
    file_requests(batch.workspace, request_body(), circles)
    seal.run(params, batch, silent)
    with monkeypatch.context() as patch:
        patch.setattr(freezing, "freeze", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            resolve.run(params, batch, silent)
    assert len(manifest.read(batch.forget)) == 20
    request.cancel(request_id(2), batch.workspace)
    resolve.run(params, batch, silent)
    assert len(manifest.read(batch.forget)) == 10
    assert states(batch.workspace) == ["scheduled", "cancelled"]


def test_sealed_requests_that_were_edited_are_refused(params: Params, batch: BatchFolder) -> None:
    file_requests(batch.workspace, request_body())
    seal.run(params, batch, silent)
    agreed = batch.requests.read_bytes()
    batch.requests.write_bytes(agreed.replace(b"star", b"cube"))
    with pytest.raises(EvidenceError, match="run `unlearning seal --batch b1`"):
        resolve.run(params, batch, silent)
    seal.run(params, batch, silent)
    assert batch.requests.read_bytes() == agreed
    batch.workspace.ledger.unlink()
    with pytest.raises(RequestError, match="not the 0 requests that the ledger sealed"):
        resolve.run(params, batch, silent)


def test_a_forget_manifest_is_frozen(params: Params, batch: BatchFolder, repository: Path, tmp_path: Path) -> None:
    """Another data set under the batch's parameters, or the same name with other images, is not what was agreed."""
    file_requests(batch.workspace, request_body(dataset=None))
    manifests(params, batch)
    before = snapshot(batch.path)
    ingest.run(str(picture_tree(tmp_path / "more", each=14)), "more", batch.workspace, silent)
    with pytest.raises(ManifestError, match="is frozen with 10 images"):
        resolve.run(toy_params(repository, **{"data.name": "more"}), batch, silent)
    assert snapshot(batch.path) == before
    resolve.run(toy_params(repository, **{"data.image_size": 16}), batch, silent)  # the same rows: made anew
    assert batch.forget.read_bytes() == before["forget_manifest/forget.parquet"]


def test_a_manifest_that_was_edited_is_refused_where_it_is_read_and_healed_where_it_is_made(
    params: Params, batch: BatchFolder
) -> None:
    file_requests(batch.workspace, request_body())
    manifests(params, batch)
    agreed = batch.forget.read_bytes()
    manifest.write(batch.forget, manifest.read(batch.forget)[1:])
    batch.lineage("retain_proxy_set").unlink()
    with pytest.raises(EvidenceError, match=r"forget_manifest: its files are not the ones .* run `unlearning resolve"):
        retain.run(params, batch, silent)
    resolve.run(params, batch, silent)
    assert batch.forget.read_bytes() == agreed


def test_stages_in_the_wrong_order_say_what_is_missing(params: Params, batch: BatchFolder) -> None:
    with pytest.raises(ManifestError, match="run `unlearning seal --batch b1` first"):
        resolve.run(params, batch, silent)
    with pytest.raises(ManifestError, match="run `unlearning resolve --batch b1` first"):
        retain.run(params, batch, silent)


def test_only_other_classes(params: Params, batch: BatchFolder, repository: Path) -> None:
    person = request_body(selectors=[{"subject": "person-0"}])
    file_requests(batch.workspace, person)
    manifests(toy_params(repository, **{"retain.mode": "other_classes"}), batch)
    assert set(manifest.read(batch.retain)["class"].to_pylist()) == {"square", "triangle", "star"}
    named = {"retain.mode": "other_classes", "retain.proxy_classes": ["square"]}
    retain.run(toy_params(repository, **named), batch, silent)
    assert set(manifest.read(batch.retain)["class"].to_pylist()) == {"square"}


@pytest.mark.parametrize(
    ("classes", "said"), [(["cube"], "has no class 'cube'; classes that exist: circle"), (["star"], "one to forget")]
)
def test_a_proxy_class_that_cannot_serve_is_named(
    batch: BatchFolder, repository: Path, classes: list[str], said: str
) -> None:
    file_requests(batch.workspace, request_body())
    wrong = toy_params(repository, **{"retain.mode": "other_classes", "retain.proxy_classes": classes})
    with pytest.raises(ManifestError, match=said):
        manifests(wrong, batch)


def test_another_data_set_gives_up_what_it_shares(batch: BatchFolder, repository: Path, tmp_path: Path) -> None:
    """The proxy holds copies of every toy picture: none that is forgotten or held out may come back through it."""
    pictures = picture_tree(tmp_path / "copies", each=14)
    ingest.run(str(pictures), "copies", batch.workspace, silent)
    file_requests(batch.workspace, request_body())
    manifests(toy_params(repository, **{"retain.mode": "other_dataset", "retain.dataset": "copies"}), batch)
    forget, retained, held_out = (manifest.read(path) for path in (batch.forget, batch.retain, batch.holdout))
    assert set(retained["dataset"].to_pylist()) == {"copies"}
    assert len(retained) > 0
    manifest.refuse_overlap({"forget": forget, "retain": retained, "holdout": held_out})


def test_a_share_of_the_retain_images_is_balanced_and_seeded(batch: BatchFolder, repository: Path) -> None:
    file_requests(batch.workspace, request_body())

    def drawn(**overrides: Any) -> list[str]:
        manifests(toy_params(repository, **{"retain.ratio": 0.5, **overrides}), batch)
        return manifest.read(batch.retain)["key"].to_pylist()

    first = drawn()
    counts = pc.value_counts(manifest.read(batch.retain)["class"]).field("counts").to_pylist()
    assert len(first) == 12
    assert counts == [4, 4, 4]
    assert drawn(**{"retain.seed": 1}) != first
    assert drawn() == first


def test_certify_ends_the_line_and_promotion_closes_it(params: Params, batch: BatchFolder) -> None:
    file_requests(batch.workspace, request_body())
    manifests(params, batch)
    fake_training(params, batch)
    request.follow("unlearned_checkpoint", batch)
    assert states(batch.workspace) == ["unlearning"]
    certify.run(params, batch, silent)
    assert states(batch.workspace) == ["ready"]
    assert request.close_batch(batch, promoted=True, reason="promoted") == 1
    certify.run(params, batch, silent)
    assert states(batch.workspace) == ["promoted"]
    (shown,) = request.show(request_body()["request_id"], batch.workspace)
    assert json.dumps(shown["events"]).count('"promoted"') == 2  # as state, and as reason
