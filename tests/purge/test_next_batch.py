"""What comes after a purge: the next batch keeps, measures and purges as if the images still lay there."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest

from tests.evidence.served import promoted
from tests.toy_batch import fake_training, file_requests, manifests, request_body, request_id, toy_params
from unlearning import files, gates
from unlearning.data import index, manifest, relocation, tombstones
from unlearning.errors import DataError, EvidenceError
from unlearning.evidence import certificate, claims
from unlearning.evidence import purge as record_of
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _certified_then, certify, promote, purge
from unlearning.workspace import BatchFolder, Workspace

LATER = datetime.now(UTC) + timedelta(days=8)
CIRCLES = [{"class": "circle", "approved_by": "privacy-officer"}]


def test_the_retain_set_is_the_same_whether_an_earlier_batch_is_purged_or_not(
    repository: Path, batch: BatchFolder
) -> None:
    """What is near to a forgotten image is left out by what was written down before it went."""
    params = toy_params(repository, **{"retain.duplicate": 0.58})
    other = Workspace(batch.workspace.root.parent / "other")
    shutil.copytree(batch.workspace.root, other.root)
    purge.run(params, batch, silent, LATER)
    near = manifest.read(record_of.near(batch))
    assert len(near)
    sets = []
    for workspace in (batch.workspace, other):
        file_requests(workspace, request_body(request_id=request_id(2), selectors=CIRCLES))
        manifests(params, workspace.batch("b2"))
        retained = manifest.read(workspace.batch("b2").retain)
        assert not set(retained["key"].to_pylist()) & set(near["key"].to_pylist())
        sets.append((retained["key"].to_pylist(), manifest.read(workspace.batch("b2").holdout)["key"].to_pylist()))
    assert sets[0] == sets[1]


def test_images_of_another_batch_are_found_in_the_shards_of_today(params: Params, batch: BatchFolder) -> None:
    second = promoted(params, batch.workspace, 2, "circle")
    forget = manifest.read(second.forget)
    before = index.read(batch.workspace.dataset("toys"))
    assert relocation.stored(forget, batch.workspace) is forget
    purge.run(params, batch, silent, LATER)
    found, home = _certified_then.images(second, forget)
    assert len(list(tombstones.images(home, found))) == 10
    moved = before.filter(pc.is_in(before["key"], value_set=found["key"].combine_chunks()))
    assert moved["offset"].to_pylist() != found["offset"].to_pylist()
    with pytest.raises(DataError, match="10 of the 10 images of batch b1 were purged"):
        _certified_then.images(batch, manifest.read(batch.forget))


def test_images_that_another_served_batch_forgot_too_wait_for_its_purge(params: Params, batch: BatchFolder) -> None:
    second = promoted(params, batch.workspace, 2, "star")
    done = purge.run(params, batch, silent, LATER)
    stored = done.record.at("dataset_shards")
    assert stored is not None
    assert (stored.removed, stored.remaining, stored.why) == (0, 10, "forgotten_by_another_batch")
    assert done.record.status == "partial"
    assert purge.run(params, second, silent, LATER).record.status == "complete"
    assert purge.run(params, batch, silent, LATER).record.status == "complete"
    assert len(index.read(batch.workspace.dataset("toys"))) == 30


def test_what_is_not_measured_any_more_passes_by_the_record_alone(params: Params, batch: BatchFolder) -> None:
    purge.run(params, batch, silent, LATER)
    second = batch.workspace.batch("b2")
    file_requests(batch.workspace, request_body(request_id=request_id(2), selectors=CIRCLES))
    manifests(params, second)
    fake_training(params, second)
    report = files.read_json(second.report)
    proven = certificate.purged_before(second)
    assert list(proven) == ["b1"]
    silent_report = {**report, "earlier": {"batches": [{"batch": "b1"}]}}
    bounds, checkpoints = params.gates, report["checkpoints"]
    by_record = gates.evaluate(silent_report, bounds, checkpoints, ("b1",), proven)
    (row,) = [one for one in by_record.criteria if one.name == "earlier_purged"]
    assert (row.status, row.blocking) == ("pass", False)
    assert f"on {record_of.stamp(LATER)[:10]}, last measured in b1" in row.sentence
    assert by_record.passed
    assert any(row.sentence in one for one in claims.not_claimed("C1", silent_report, by_record))
    claimed = {**report, "earlier": {"batches": [{"batch": "b1", "purged": {"last_measured": "b1"}}]}}
    by_report = gates.evaluate(claimed, bounds, checkpoints, ("b1",))
    assert not by_report.passed  # a report that says so proves nothing


def test_a_record_that_keeps_images_or_was_edited_excuses_nothing(repository: Path, batch: BatchFolder) -> None:
    params = toy_params(repository, **{"purge.keep_for_measuring_days": 30})
    purge.run(params, batch, silent, LATER)
    second = batch.workspace.batch("b2")
    file_requests(batch.workspace, request_body(request_id=request_id(2), selectors=CIRCLES))
    manifests(params, second)
    assert certificate.purged_before(second) == {}
    assert "purged" not in files.read_json(second.asset("forget_manifest") / "resolution.json")["earlier"][0]
    tree = files.read_json(record_of.file(batch))
    tree["locations"][0]["remaining"] = 0
    files.write_json(record_of.file(batch), tree)
    with pytest.raises(EvidenceError, match="does not add up"):
        record_of.read(batch)


def test_the_model_goes_on_being_served_batch_after_batch(params: Params, batch: BatchFolder) -> None:
    """Purge, batch, purge: the line does not break, and each data set is what is left."""
    purge.run(params, batch, silent, LATER)
    second = promoted(params, batch.workspace, 2, "circle")
    certify.run(params, second, silent)
    assert not promote.run(params, second).changed
    assert purge.run(params, second, silent, LATER + timedelta(days=8)).record.status == "complete"
    third = promoted(params, batch.workspace, 3, "square")
    earlier = files.read_json(third.asset("forget_manifest") / "resolution.json")["earlier"]
    assert [one["purged"]["last_measured"] for one in earlier] == ["b1", "b2"]
    assert set(index.read(batch.workspace.dataset("toys"))["class"].to_pylist()) == {"square", "triangle"}
