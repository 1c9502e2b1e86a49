"""A purge takes every stored copy, leaves the evidence, and says what is left."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from tests.evidence.served import NAME, promoted
from tests.toy_batch import file_requests, png, request_body, request_id, snapshot, toy_params
from unlearning import files
from unlearning.data import index, manifest, neighbours, pictures, purging, tombstones
from unlearning.errors import EvidenceError, ManifestError, RequestError, StorageError, UnlearningError
from unlearning.evidence import history, promotion, verification
from unlearning.evidence import purge as record_of
from unlearning.log import silent
from unlearning.params import Params
from unlearning.requests.ledger import Ledger
from unlearning.stages import STAGES
from unlearning.verbs import certify, plan, promote, purge, request, resolve, retain, rollback, seal, trace
from unlearning.verbs._purge_places import PLACES
from unlearning.workspace import BatchFolder, Workspace

LATER = datetime.now(UTC) + timedelta(days=8)


def states(batch: BatchFolder) -> set[str]:
    return {entry.state for entry in Ledger(batch.workspace.ledger).entries(batch.key)}


def _assets(batch: BatchFolder) -> dict[str, bytes]:
    """Assets, their records, and the purge's own; bundles, which say more when more is known, lie elsewhere."""
    folders = {*STAGES, "lineage", "purge"}
    return {name: content for name, content in snapshot(batch.path).items() if name.partition("/")[0] in folders}


def counts(done: purge.Done) -> dict[str, tuple[int, int]]:
    return {one.location: (one.removed, one.remaining) for one in done.record.locations}


def test_every_stored_copy_goes_and_the_evidence_stays(params: Params, batch: BatchFolder) -> None:
    dataset = batch.workspace.dataset("toys")
    before, forget = index.read(dataset), manifest.read(batch.forget)
    features = neighbours.features(batch.workspace, "toys", "auto").copy()
    report = batch.report.read_bytes()

    done = purge.run(params, batch, silent, LATER)

    assert done.record.status == "complete"
    assert done.record.scan.hits == 0
    told = counts(done)
    assert told["dataset_shards"] == (10, 0)
    assert told["feature_tables"] == (10, 0)
    assert told["batch_work"] == (1, 0)
    assert told["inbox"] == (1, 0)
    assert told["interim_filter"] == (1, 0)
    assert told["old_checkpoints"] == (2, 0)  # version 0, and the batch's own original
    # The data set is whole, without the stars, and every image that stays is the image that it was.
    after, described = index.read(dataset), index.describe(dataset)
    assert set(after["class"].to_pylist()) == {"circle", "square", "triangle"}
    assert described["purged"] == [{"batch": "b1", "images": 10, "at": record_of.stamp(LATER)}]
    assert (described["images"], sum(described["classes"].values())) == (30, 30)
    stored = [pictures.pixel_sha256(image) for image in tombstones.images(batch.workspace, after)]
    assert stored == after["pixel_sha256"].to_pylist()
    stay = pc.invert(pc.is_in(before["key"], value_set=pc.unique(forget["key"]))).to_numpy()
    assert np.array_equal(index.thumbnails(dataset), index.thumbnails(dataset))
    assert len(index.thumbnails(dataset)) == len(neighbours.hashes(batch.workspace, "toys")) == 30
    assert np.array_equal(neighbours.features(batch.workspace, "toys", "auto"), features[stay])
    # The evidence says the same, and says what was purged.
    found = verification.verify(batch.path)
    assert found.verified, found.mismatches
    assert found.purged == ("original_checkpoint/model.safetensors",)
    assert batch.report.read_bytes() == report
    assert states(batch) == {"completed"}
    text = record_of.file(batch).read_text() + (record_of.folder(batch) / "files.json").read_text()
    for column in ("key", "sha256", "pixel_sha256"):
        assert not any(value in text for value in forget[column].to_pylist())


def test_again_changes_nothing(params: Params, batch: BatchFolder) -> None:
    first = purge.run(params, batch, silent, LATER)
    before = snapshot(batch.workspace.root)
    again = purge.run(params, batch, silent, LATER + timedelta(days=3))
    assert first.changed
    assert not again.changed
    assert again.record == first.record
    assert snapshot(batch.workspace.root) == before


def test_killed_after_every_place_it_is_finished_by_the_same_call(params: Params, batch: BatchFolder) -> None:
    untouched = Workspace(batch.workspace.root.parent / "other")
    shutil.copytree(batch.workspace.root, untouched.root)
    whole = purge.run(params, untouched.batch("b1"), silent, LATER)
    for code, place in PLACES.items():

        def killed(job: purge.Job, said: record_of.Location | None, place: purge.Place = place) -> purge.Counted:
            place(job, said)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            purge.run(params, batch, silent, LATER, {code: killed})
        assert record_of.begun(batch)
        assert record_of.read(batch) is None
        assert states(batch) == {"purging"}
    done = purge.run(params, batch, silent, LATER)
    exact = ("dataset_shards", "batch_tables", "batch_pictures")  # told from what was written before anything went
    assert {code: counts(done)[code] for code in exact} == {code: counts(whole)[code] for code in exact}
    assert done.record.status == "complete"
    assert states(batch) == {"completed"}
    assert verification.verify(batch.path).verified


def test_of_the_systems_temporary_folder_it_takes_what_is_ours_and_old(
    params: Params, batch: BatchFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = ("unlearning-download-a", "unlearning-quarantine-b", "unlearning-notes", "another-download")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "picture.png").write_bytes(b"somebody's")
        for old in (tmp_path / name / "picture.png", tmp_path / name):
            os.utime(old, (0, 0))
    (tmp_path / "unlearning-download-c").mkdir()  # a living process's
    purge.run(params, batch, silent, LATER)
    left = {path.name for path in tmp_path.iterdir()} - {"var"}
    assert left == {"unlearning-notes", "another-download", "unlearning-download-c"}


def test_a_copy_somewhere_else_makes_it_partial_until_it_is_gone(params: Params, batch: BatchFolder) -> None:
    stray = batch.workspace.root / "notes.jsonl"
    stray.write_text(json.dumps({"picture": base64.b64encode(png(3000)).decode()}) + "\n")  # the first star
    done = purge.run(params, batch, silent, LATER)
    assert (done.record.status, done.record.scan.hits) == ("partial", 1)
    assert states(batch) == {"purging"}
    (hit,) = purge.scan(batch.workspace, [batch.workspace.root], silent).hits
    assert hit.path == stray
    stray.unlink()
    assert purge.run(params, batch, silent, LATER).record.status == "complete"
    assert states(batch) == {"completed"}


def test_kept_for_measuring_they_lie_in_one_place_until_the_day(repository: Path, batch: BatchFolder) -> None:
    keeping = toy_params(repository, **{"purge.keep_for_measuring_days": 20})
    done = purge.run(keeping, batch, silent, LATER)
    kept = done.record.at(record_of.KEPT)
    assert kept is not None
    assert (kept.remaining, kept.why) == (10, "measured_by_later_batches")
    assert done.record.status == "complete"
    assert states(batch) == {"purging"}
    home = Workspace(record_of.kept(batch))
    assert len(list(tombstones.images(home, index.read(home.dataset("toys"))))) == 10
    (end,) = done.record.expires
    over = purge.run(keeping, batch, silent, datetime.fromisoformat(end))
    assert counts(over)[record_of.KEPT] == (10, 0)
    assert not record_of.kept(batch).exists()
    assert states(batch) == {"completed"}


def test_old_checkpoints_may_be_kept_until_a_day(repository: Path, batch: BatchFolder) -> None:
    keeping = toy_params(repository, **{"purge.old_checkpoints": "keep", "purge.keep_checkpoints_days": 20})
    done = purge.run(keeping, batch, silent, LATER)
    old = done.record.at("old_checkpoints")
    assert old is not None
    assert (old.removed, old.remaining, old.why) == (0, 2, "policy_keeps")
    assert old.expires_at is not None
    assert purge.run(keeping, batch, silent, datetime.fromisoformat(old.expires_at)).record.at("old_checkpoints") == (
        replace(old, found=2, removed=2, remaining=0, expires_at=None, why=None, verified_at=old.expires_at)
    )


def test_the_next_batch_leaves_out_what_is_purged_and_says_so(params: Params, batch: BatchFolder) -> None:
    purge.run(params, batch, silent, LATER)
    second = promoted(params, batch.workspace, 2, "circle")
    said = files.read_json(second.asset("forget_manifest") / "resolution.json")["earlier"]
    assert said[0]["purged"]["last_measured"] == "b1"
    judged = promotion.judge(params, second)
    assert judged.passed
    told = files.read_json(second.certificate)
    assert history.in_effect(promotion.generations(batch.workspace, NAME)) == ("b1", "b2")
    assert verification.verify(second.path).verified
    assert told["status"] == "issued"


def test_a_version_from_before_a_purge_is_not_served_again(params: Params, batch: BatchFolder) -> None:
    purge.run(params, batch, silent, LATER)
    before = snapshot(batch.workspace.root / "models")
    with pytest.raises(EvidenceError, match="version 0 was served before batch b1, which is purged"):
        rollback.run(NAME, 0, batch.workspace, "worse_quality")
    assert snapshot(batch.workspace.root / "models") == before


def test_nothing_of_a_purged_batch_is_made_again(params: Params, batch: BatchFolder, repository: Path) -> None:
    purge.run(params, batch, silent, LATER)
    before = _assets(batch)
    for verb in (seal, resolve, plan, retain, certify):
        verb.run(params, batch, silent)  # what stands there is current
    assert not promote.run(params, batch).changed
    assert _assets(batch) == before
    batch.lineage("retain_proxy_set").unlink()
    with pytest.raises(EvidenceError, match="batch b1 is purged"):
        retain.run(params, batch, silent)


@pytest.mark.parametrize("what", ["held", "under way", "rolled back", "never promoted", "another model", "in use"])
def test_what_somebody_needs_yet_is_not_purged(params: Params, batch: BatchFolder, what: str) -> None:
    workspace = batch.workspace
    ledger = Ledger(workspace.ledger)
    error: type[UnlearningError] = RequestError
    say = ""
    if what == "held":
        file_requests(workspace, request_body(request_id=request_id(5)))
        request.change(request_id(5), workspace, "hold", "litigation")
        say = "10 of its images are under legal hold"
    elif what == "under way":
        other = [{"class": "circle", "approved_by": "privacy-officer"}]
        file_requests(workspace, request_body(request_id=request_id(6), selectors=other))
        for verb in (seal, resolve):
            verb.run(params, workspace.batch("b2"), silent)
        error, say = ManifestError, "batch b2 is on its way"
    elif what == "rolled back":
        rollback.run(NAME, 0, workspace, "worse_quality")
        error, say = EvidenceError, "was rolled back"
    elif what == "never promoted":
        batch, error, say = workspace.batch("b9"), EvidenceError, "was never promoted"
    elif what == "another model":
        ledger.register("toys-two", "toys")
        say = "model toys-two was trained on data set 'toys' too"
    before = snapshot(workspace.root / "data")
    if what == "in use":
        with purging.reading(workspace, "toys"), pytest.raises(StorageError, match="data set toys is being"):
            purge.run(params, batch, silent, LATER)
    else:
        with pytest.raises(error, match=say):
            purge.run(params, batch, silent, LATER)
    assert snapshot(workspace.root / "data") == before
    assert not record_of.begun(batch)


def test_evidence_that_is_not_listed_or_may_not_go_is_missed(params: Params, batch: BatchFolder) -> None:
    purge.run(params, batch, silent, LATER)
    listing = record_of.folder(batch) / "files.json"
    sound = listing.read_bytes()
    tree = json.loads(sound)
    tree["files"].append({**tree["files"][0], "asset": "evaluation_report", "path": "report.json"})
    listing.write_text(json.dumps(tree))
    assert any("is evidence, which no purge removes" in one for one in verification.verify(batch.path).mismatches)
    listing.write_bytes(sound)
    (batch.unlearned / "model.safetensors").unlink()
    assert "unlearned_checkpoint/model.safetensors: is missing" in verification.verify(batch.path).mismatches


def test_what_was_purged_is_traced_by_its_key(params: Params, batch: BatchFolder) -> None:
    key = manifest.read(batch.forget)["key"][0].as_py()
    purge.run(params, batch, silent, LATER)
    found = trace.run(key, batch.workspace)
    assert [one["stored"] for one in found["images"]] == [False]
