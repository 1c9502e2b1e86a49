"""What waits for an officer, through real verbs: left out of its batch, approved, and forgotten by the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.toy_batch import fake_training, file_requests, request_body, request_id, snapshot, toy_params
from tests.toy_pictures import saved, soft
from unlearning import digests, files
from unlearning.__main__ import main
from unlearning.data import index, manifest, neighbours
from unlearning.errors import DataError, RequestError
from unlearning.log import silent
from unlearning.params import Params
from unlearning.requests.ledger import Ledger
from unlearning.verbs import certify, ingest, plan, request, resolve, retain, seal, verify
from unlearning.workspace import BatchFolder, Workspace

NEAR, PLAIN = request_id(1), request_id(2)
INCLUDE = {"mode": "include", "threshold": 8}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A data set of twelve pictures, and of the first two a copy with loss."""
    tree = tmp_path / "pictures" / "all"
    tree.mkdir(parents=True)
    for seed in range(12):
        (tree / f"p{seed:02d}.png").write_bytes(saved(soft(seed, 32), "PNG"))
    for seed in range(2):
        (tree / f"q{seed:02d}.jpg").write_bytes(saved(soft(seed, 32), "JPEG", quality=85))
    workspace = Workspace(tmp_path / "var")
    ingest.run(str(tree.parent), "toys", workspace, silent)
    return workspace


@pytest.fixture
def params(repository: Path) -> Params:
    return toy_params(repository)


def key_of(workspace: Workspace, seed: int, copy: bool = False) -> str:
    table = index.read(workspace.dataset("toys"))
    content = saved(soft(seed, 32), "JPEG", quality=85) if copy else saved(soft(seed, 32), "PNG")
    key: str = table["key"][table["sha256"].to_pylist().index(digests.of_bytes(content))].as_py()
    return key


def file_both(workspace: Workspace, **near: Any) -> None:
    """One that means near duplicates, too, and one that does not."""
    wide = [{"sample_key": key_of(workspace, 0)}]
    file_requests(
        workspace,
        request_body(request_id=NEAR, selectors=wide, near_duplicates=near or INCLUDE),
        request_body(request_id=PLAIN, selectors=[{"sample_key": key_of(workspace, 5)}]),
    )


def sealed(params: Params, workspace: Workspace, key: str) -> BatchFolder:
    batch = workspace.batch(key)
    seal.run(params, batch, silent)
    return batch


def states(workspace: Workspace) -> list[str]:
    return [entry.state for entry in Ledger(workspace.ledger).entries()]


def rows_of(batch: BatchFolder) -> set[str]:
    return set(manifest.read(batch.forget)["key"].to_pylist())


def test_a_proposal_waits_while_others_go_on_and_the_next_batch_forgets_it(
    params: Params, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    file_both(workspace)
    first = sealed(params, workspace, "b1")
    resolve.run(params, first, silent)
    assert states(workspace) == ["in_review", "scheduled"]
    assert rows_of(first) == {key_of(workspace, 5)}
    told = files.read_json(first.forget.with_name("resolution.json"))["requests"]
    assert (told[0]["selected"], told[0]["perceptual"], told[0]["review"][0]["images"]) == (1, 1, 1)
    assert "near_duplicates" not in told[1]
    (shown,) = request.show(NEAR, workspace)
    (proposed,) = shown["proposals"]
    path = workspace.root / "proposals" / f"shop-1.{NEAR}.{params.model.name}.parquet"
    copy = key_of(workspace, 0, copy=True)
    assert pq.read_table(path).to_pylist() == [{"what": "near_duplicates", "key": copy, "tier": "perceptual"}]
    assert copy not in json.dumps(shown)

    with pytest.raises(RequestError, match="nothing of that name and digest is proposed"):
        request.approve(NEAR, workspace, "near_duplicates", "ab" * 32, "privacy-officer")
    assert Ledger(workspace.ledger).approved(Ledger(workspace.ledger).find(NEAR)[0]) == set()
    words = ["--what", "near_duplicates", "--digest", proposed["digest"], "--role", "privacy-officer"]
    for _ in range(2):  # again: nothing changes
        assert main(["request", "approve", NEAR, *words, "--root", str(workspace.root)]) == 0
    assert "approved" in capsys.readouterr().out
    assert states(workspace) == ["verified", "scheduled"]

    second = sealed(params, workspace, "b2")
    resolve.run(params, second, silent)
    assert rows_of(second) == {key_of(workspace, 0), copy}
    (said,) = files.read_json(second.forget.with_name("resolution.json"))["requests"]
    assert (said["near_duplicates"]["accepted_by"], said["perceptual"], said["state"]) == ("approval", 1, "scheduled")
    assert said["near_duplicates"]["digest"] == proposed["digest"]


def test_a_certificate_names_no_request_that_waits(params: Params, workspace: Workspace) -> None:
    file_both(workspace)
    batch = sealed(params, workspace, "b1")
    for verb in (resolve, plan, retain):
        verb.run(params, batch, silent)
    fake_training(params, batch)
    certify.run(params, batch, silent)
    assert files.read_json(batch.certificate)["requests"] == {"count": 1, "ids": [PLAIN]}
    assert verify.run(batch.path).verified
    assert states(workspace) == ["in_review", "ready"]


def test_policy_takes_it_in_unseen_where_it_may(params: Params, workspace: Workspace, repository: Path) -> None:
    file_both(workspace)
    within = {"accept": "within", "bits": 8, "most": 1}
    wide = toy_params(repository, **{"resolve.near_duplicates": within})
    batch = sealed(wide, workspace, "b1")
    resolve.run(wide, batch, silent)
    assert states(workspace) == ["scheduled", "scheduled"]
    assert rows_of(batch) == {key_of(workspace, 0), key_of(workspace, 0, copy=True), key_of(workspace, 5)}
    assert not (workspace.root / "proposals").exists()


def test_again_and_after_a_crash_the_same_one_waits(params: Params, workspace: Workspace) -> None:
    file_both(workspace)
    batch = sealed(params, workspace, "b1")
    resolve.run(params, batch, silent)
    before = snapshot(workspace.root)
    resolve.run(params, batch, silent)
    batch.lineage("forget_manifest").unlink()  # as if killed before it was recorded
    resolve.run(params, batch, silent)
    after = snapshot(workspace.root)
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= {"batches/b1/lineage/forget_manifest.json"}  # its moment, at most
    assert states(workspace) == ["in_review", "scheduled"]


def test_what_failed_is_reviewed_unless_its_manifest_was_frozen(
    params: Params, workspace: Workspace, repository: Path
) -> None:
    file_both(workspace)
    ledger, batch = Ledger(workspace.ledger), sealed(params, workspace, "b1")
    ledger.close_batch("b1", False, "input_refused")  # before anybody looked at its images
    resolve.run(params, batch, silent)
    assert states(workspace) == ["in_review", "failed"]
    frozen = batch.forget.read_bytes()
    capped = toy_params(repository, **{"resolve.caps": {"share_of_data": 0.01}})
    resolve.run(capped, batch, silent)  # the cap comes too late for what was frozen
    assert batch.forget.read_bytes() == frozen
    assert states(workspace) == ["in_review", "failed"]


def test_a_request_filed_after_sealing_leaves_the_manifest_as_it_is(params: Params, workspace: Workspace) -> None:
    file_both(workspace)
    batch = sealed(params, workspace, "b1")
    file_requests(workspace, request_body(request_id=request_id(3), selectors=[{"sample_key": key_of(workspace, 7)}]))
    resolve.run(params, batch, silent)
    frozen = batch.forget.read_bytes()
    batch.lineage("forget_manifest").unlink()
    resolve.run(params, batch, silent)
    assert batch.forget.read_bytes() == frozen
    assert states(workspace) == ["in_review", "scheduled", "verified"]
    later = sealed(params, workspace, "b2")
    resolve.run(params, later, silent)
    assert rows_of(later) == {key_of(workspace, 7)}


def test_over_a_cap_with_nothing_else_to_do_the_batch_says_so(
    params: Params, workspace: Workspace, repository: Path
) -> None:
    selectors = [{"sample_key": key_of(workspace, seed)} for seed in (3, 4)]
    file_requests(workspace, request_body(selectors=selectors))
    capped = toy_params(repository, **{"resolve.caps": {"images_of_request": 1}})
    batch = sealed(capped, workspace, "b1")
    with pytest.raises(RequestError, match="of its 1 requests 1 wait for somebody's word"):
        resolve.run(capped, batch, silent)
    assert not batch.asset("forget_manifest").exists()
    assert states(workspace) == ["in_review"]
    ledger = Ledger(workspace.ledger)
    (entry,) = ledger.entries()
    assert ledger.events(entry)[-1].reason == "cap_images_of_request"
    (shown,) = request.show(entry.request_id, workspace)
    request.approve(entry.request_id, workspace, "cap", shown["proposals"][0]["digest"], "privacy-officer")
    second = sealed(capped, workspace, "b2")
    resolve.run(capped, second, silent)
    assert len(rows_of(second)) == 2


def test_what_a_hold_keeps_waits_for_its_end(params: Params, workspace: Workspace) -> None:
    mine = {"selectors": [{"sample_key": key_of(workspace, 3)}]}
    kept = request_body(request_id=request_id(9), controller_id="court", **mine)
    other = request_body(request_id=PLAIN, selectors=[{"sample_key": key_of(workspace, 5)}])
    file_requests(workspace, request_body(**mine), kept, other)
    request.change(request_id(9), workspace, "hold", "litigation")
    first = sealed(params, workspace, "b1")
    resolve.run(params, first, silent)
    assert rows_of(first) == {key_of(workspace, 5)}
    assert states(workspace) == ["in_review", "on_hold", "scheduled"]
    request.change(request_id(9), workspace, "release", "hold_ended")
    assert states(workspace) == ["verified", "verified", "scheduled"]
    second = sealed(params, workspace, "b2")
    resolve.run(params, second, silent)
    assert rows_of(second) == {key_of(workspace, 3)}
    told = files.read_json(second.forget.with_name("resolution.json"))["requests"]
    assert [one.get("same_rows_as") for one in told] == [None, told[0]["request_id"]]


def test_a_hold_counts_whatever_another_model_has_forgotten(params: Params, workspace: Workspace) -> None:
    mine = {"selectors": [{"sample_key": key_of(workspace, 3)}]}
    file_requests(workspace, request_body(request_id=request_id(9), **mine))
    ledger = Ledger(workspace.ledger)
    ledger.register(params.model.name, "toys")
    ledger.seal("b0", "another", "toys")
    ledger.advance("b0", "promoted", "served")
    ledger.hold("shop-1", request_id(9), "litigation")
    file_requests(workspace, request_body(request_id=PLAIN, **mine))
    batch = sealed(params, workspace, "b1")
    with pytest.raises(RequestError, match="wait for somebody's word"):
        resolve.run(params, batch, silent)
    assert ledger.find(PLAIN)[0].state == "in_review"


def test_by_embedding_only_where_there_are_features(params: Params, workspace: Workspace) -> None:
    file_both(workspace, mode="include", method="embedding", threshold=0.99)
    batch = sealed(params, workspace, "b1")
    before = snapshot(workspace.root)
    with pytest.raises(DataError, match="run `unlearning embed toys --extractor auto`"):
        resolve.run(params, batch, silent)
    assert snapshot(workspace.root) == before
    keys = index.read(workspace.dataset("toys"))["key"].to_pylist()
    table = np.eye(len(keys), dtype=np.float32)
    one, other = (keys.index(key_of(workspace, seed)) for seed in (0, 8))
    table[other, one] = 20.0  # all but the same direction
    described = index.describe(workspace.dataset("toys"))
    folder = neighbours.feature_folder(workspace, "toys", "auto")
    neighbours.write_features(folder, table, {"index_sha256": described["index_sha256"]})
    resolve.run(params, batch, silent)
    told = files.read_json(batch.forget.with_name("resolution.json"))["requests"]
    assert (told[0]["embedding"], told[0]["state"]) == (1, "in_review")
