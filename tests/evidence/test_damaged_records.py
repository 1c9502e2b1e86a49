"""Records beside a batch that are damaged, or about something else: each is said, none is believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.evidence.bundles import draft
from tests.toy_batch import certified, fake_training, file_requests, manifests, request_body, toy_params, toy_workspace
from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import (
    bundle,
    bundle_verification,
    certificate,
    lineage,
    predicates,
    promotion,
    purge,
    statements,
    trust,
    verification,
)
from unlearning.evidence.purge import Gone, Location, Purged, Scan
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import certify, promote
from unlearning.workspace import BatchFolder, Workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Params, BatchFolder]:
    return certified(tmp_path_factory.mktemp("made"), repository)


@pytest.fixture
def whole(made: tuple[Params, BatchFolder], tmp_path: Path) -> tuple[Params, BatchFolder]:
    """A copy that a test may ruin."""
    root = shutil.copytree(made[1].workspace.root, tmp_path / "root")
    return made[0], Workspace(root).batch(made[1].key)


@pytest.fixture
def batch(whole: tuple[Params, BatchFolder]) -> BatchFolder:
    return whole[1]


def composed(params: Params, batch: BatchFolder) -> dict[str, Any]:
    records = {asset: lineage.read(batch, asset) for asset in certificate.ASSETS}
    said = files.read_json(batch.certificate)
    return certificate.compose(batch, records, params.model_dump(mode="json"), said["issued_at"])


def resolution(batch: BatchFolder, **changes: Any) -> None:
    path = batch.asset("forget_manifest") / "resolution.json"
    files.write_json(path, {**files.read_json(path), **changes})


@pytest.mark.parametrize("earlier", [7, [7], [{}], {"batch": "b0"}])
def test_a_manifest_that_does_not_say_what_was_forgotten_before(batch: BatchFolder, earlier: Any) -> None:
    resolution(batch, earlier=earlier)
    with pytest.raises(EvidenceError, match=r"resolution\.json: does not say what was forgotten before$"):
        certificate.forgotten_before(batch)


def location(code: str, remaining: int = 0, expires_at: str | None = None, why: str | None = None) -> Location:
    return Location(code, "delete", 3, 3 - remaining, remaining, None, expires_at, why)


def record(*locations: Location, batch: str = "b0", status: str = "complete") -> Purged:
    times = ("2026-11-02T00:00:00+00:00", "2026-11-03T00:00:00+00:00")
    return Purged(batch, "toys", status, *times, {"name": "unlearning"}, locations, Scan(1, 2, 0))


def purged_before(batch: BatchFolder, told: Purged) -> dict[str, str]:
    resolution(batch, earlier=[{"batch": "b0", "purged": {"last_measured": "b5"}}, {"batch": "b4"}])
    path = batch.asset("forget_manifest") / "purged" / "b0.json"
    files.write_json(path, {"schema": purge.SCHEMA, **asdict(told)})
    return certificate.purged_before(batch)


def test_only_images_that_are_gone_excuse_a_batch_from_being_measured(batch: BatchFolder) -> None:
    said = {"b0": "batch b0 (on 2026-11-03, last measured in b5)"}
    assert purged_before(batch, record()) == said
    assert purged_before(batch, record(location(purge.KEPT), location("inbox"))) == said
    kept = location(purge.KEPT, remaining=1, expires_at="2027-01-01T00:00:00+00:00")
    assert purged_before(batch, record(kept)) == {}
    assert certificate.forgotten_before(batch) == ("b0", "b4")


@pytest.mark.parametrize("earlier", [7, [{"batch": "b0", "purged": None}], [{"purged": {}}]])
def test_a_manifest_that_does_not_say_what_was_purged_before(batch: BatchFolder, earlier: Any) -> None:
    purged_before(batch, record())
    resolution(batch, earlier=earlier)
    with pytest.raises(EvidenceError, match=r"does not say what was purged before$"):
        certificate.purged_before(batch)


def test_a_report_and_requests_that_are_none(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    requests = batch.requests.read_bytes()
    for wrong in (b"{}\n", b'{"request_id":7,"controller_id":"c"}\n', b"{\n", b"\xff\n", b"[]\n"):
        batch.requests.write_bytes(wrong)
        with pytest.raises(EvidenceError, match="not the sealed requests, or nothing says what became of them"):
            composed(params, batch)
    batch.requests.write_bytes(requests)
    report = files.read_json(batch.report)
    for other in ({**report, "batch": "b9"}, {**report, "goal": "never_seen"}):
        files.write_json(batch.report, other)
        with pytest.raises(EvidenceError, match="is about batch"):
            composed(params, batch)
    files.write_json(batch.report, [])
    with pytest.raises(EvidenceError, match=r"report\.json: not a report$"):
        composed(params, batch)


def test_an_exact_way_is_compared_with_its_replay(whole: tuple[Params, BatchFolder]) -> None:
    """Whatever the plan says: without a replay there is no claim of an exact way."""
    params, batch = whole
    path = next(batch.asset("deletion_plan").glob("*.json"))
    files.write_json(path, {**files.read_json(path), "tier": "exact"})
    said = composed(params, batch)
    assert (said["exactness"]["replay"], said["claim_level"]) == ("not replayed", "C1")


@pytest.mark.parametrize(
    "damage", [b"{", b"[]", b"{}", b'{"schema":"purged-files/1","batch":"b9","files":[]}', "evidence", "shape"]
)
def test_a_listing_of_purged_files_that_is_none_excuses_nothing(batch: BatchFolder, damage: bytes | str) -> None:
    path = purge.folder(batch) / "files.json"
    gone = asdict(Gone("unlearned_checkpoint", "log.jsonl", "0" * 64, 1, "0" * 32))
    listed = {"evidence": [gone], "shape": [{"asset": "unlearned_checkpoint"}]}
    if isinstance(damage, bytes):
        files.write_bytes(path, damage)
    else:
        files.write_json(path, {"schema": purge.FILES, "batch": batch.key, "files": listed[damage]})
    found = verification.verify(batch.path)
    why = "is evidence, which no purge removes" if damage == "evidence" else "not a purged-files/1 listing of batch b1"
    assert len([line for line in found.mismatches if why in line]) == 1
    assert (found.verified, found.purged) == (False, ())


def test_weights_that_a_purge_took_out_still_count(batch: BatchFolder) -> None:
    weights = batch.asset("reference_checkpoint") / "model.safetensors"
    (was,) = (one for one in lineage.read(batch, "reference_checkpoint").outputs if one.path == weights.name)
    gone = Gone("reference_checkpoint", was.path, was.sha256, was.bytes, "0" * 32)
    before = verification.verify(batch.path)
    purge.list_out(batch, [gone])
    listing = (purge.folder(batch) / "files.json").read_bytes()
    purge.list_out(batch, [gone])
    assert (purge.folder(batch) / "files.json").read_bytes() == listing
    assert verification.verify(batch.path).purged == ()
    weights.unlink()
    found = verification.verify(batch.path)
    assert (found.mismatches, found.purged) == ((), ("reference_checkpoint/model.safetensors",))
    assert found.files == before.files - 1
    assert purge.present(batch, "reference_checkpoint") == lineage.read(batch, "reference_checkpoint").outputs


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(schema="purge/2"),
        lambda tree: tree.update(batch="b9"),
        lambda tree: tree.update(status="partial"),
        lambda tree: tree.update(more=1),
        lambda tree: tree.pop("scan"),
        lambda tree: tree.pop("schema"),
        lambda tree: tree["scan"].update(hits=1),
        lambda tree: tree["locations"][0].update(found=4),
        lambda tree: tree["locations"][0].update(found=-1, removed=-1),
        lambda tree: tree["locations"][0].update(found="3"),
        lambda tree: tree["locations"][0].update(method="burn"),
        lambda tree: tree["locations"][0].update(location="In Box"),
        lambda tree: tree["locations"][0].update(why="because of it"),
        lambda tree: tree["locations"][0].pop("why"),
    ],
)
def test_a_purge_record_adds_up(batch: BatchFolder, change: Callable[[dict[str, Any]], Any]) -> None:
    told = record(location("inbox", why="not_found"), location("backups"), batch=batch.key)
    purge.write(batch, told)
    assert purge.read(batch) == told
    tree = files.read_json(purge.file(batch))
    change(tree)
    files.write_json(purge.file(batch), tree)
    with pytest.raises(EvidenceError, match=r"purge\.json: (not a purge/1 record|does not add up)"):
        purge.read(batch)


def test_a_purge_is_begun_before_it_ends(batch: BatchFolder) -> None:
    assert (purge.begun(batch), purge.read(batch), purge.under_way(batch)) == (False, None, None)
    purge.refuse_made_again(batch)
    half = record(location("inbox", remaining=1), batch=batch.key)  # `complete` it is not, and has not to be yet
    purge.note(batch, half)
    assert (purge.begun(batch), purge.read(batch), purge.under_way(batch)) == (True, None, half)
    with pytest.raises(EvidenceError, match="is purged: what it was made from is no longer stored"):
        purge.refuse_made_again(batch)
    ended = replace(half, status="partial")
    purge.write(batch, ended)
    assert (purge.begun(batch), purge.read(batch), purge.under_way(batch)) == (True, ended, None)
    assert ended.at("inbox") == ended.locations[0]
    assert ended.at("backups") is None
    later, sooner = (f"2027-0{month}-01T00:00:00+00:00" for month in (2, 1))
    remains = [location("a", 1, expires_at=later), location("b", 2, expires_at=sooner), location("c", expires_at=later)]
    assert replace(ended, locations=tuple(remains)).expires == (sooner, later)
    assert purge.status(remains, Scan()) == "complete"
    assert purge.status(remains, Scan(hits=1)) == purge.status([location("d", 1)], Scan()) == "partial"


def recorded(batch: BatchFolder, asset: str, **inputs: str | None) -> None:
    tree = json.loads(batch.lineage(asset).read_bytes())
    tree["inputs"] = {name: value for name, value in {**tree["inputs"], **inputs}.items() if value is not None}
    files.write_json(batch.lineage(asset), tree)


def test_inputs_that_are_not_the_stages_and_a_second_data_set_are_said(batch: BatchFolder) -> None:
    recorded(batch, "forget_manifest", image_dataset="0" * 64)
    assert "the assets were not all made from one data set" in verification.verify(batch.path).mismatches
    recorded(batch, "forget_manifest", image_dataset=None)
    lines = verification.verify(batch.path).mismatches
    assert any(line.startswith("lineage/forget_manifest.json: inputs are [") for line in lines)


def test_a_batch_under_another_name_is_not_promoted(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    other = batch.workspace.batch("b9")
    shutil.copytree(batch.path, other.path)
    with pytest.raises(EvidenceError, match=rf"is about batch '{batch.key}'; nothing was promoted$"):
        promotion.promote(params, other)


def test_a_batch_made_again_replaces_its_own_earlier_result(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    first = promote.run(params, batch)
    recorded = files.read_json(batch.lineage("retain_proxy_set"))
    files.write_json(batch.lineage("retain_proxy_set"), {**recorded, "made_at": "2031-01-01T00:00:00+00:00"})
    certify.run(params, batch, silent)
    again = promote.run(params, batch)
    assert (first.champion.version, again.champion.version, again.changed) == (1, 2, True)
    assert again.champion.previous is not None
    assert again.champion.previous["version"] == 0  # what the first try replaced, too
    assert again.champion.deletions_since_base == 1


def test_records_may_be_taken_for_the_files_where_speed_is_asked_for(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    assert promotion.judge(params, batch).passed
    (batch.asset("unlearned_checkpoint") / "log.jsonl").write_bytes(b"changed")
    assert promotion.judge(params, batch, rehash=False).passed
    assert not promotion.judge(params, batch).passed


def test_a_model_that_was_trained_clean_is_a_base(tmp_path: Path, repository: Path) -> None:
    rules = [{"then": "retrain", "because": "a rule of this test"}]
    params, workspace = toy_params(repository, **{"policy.rules": rules}), toy_workspace(tmp_path)
    file_requests(workspace, request_body())
    batch = workspace.batch("b1")
    manifests(params, batch)
    fake_training(params, batch)
    certify.run(params, batch, silent)
    champion = promote.run(params, batch).champion
    issued_at = files.read_json(batch.certificate)["issued_at"]
    assert champion.deletions_since_base == 0
    assert champion.base == {
        "version": 1,
        "checkpoint": champion.checkpoint,
        "sha256": champion.sha256,
        "made_at": issued_at,
    }


def test_a_bundle_that_is_gone_damaged_or_never_was(batch: BatchFolder) -> None:
    path = bundle.file(batch)
    assert bundle.roots(batch).keys() == {"dataset", "dataset_keys", "forget", "retain"}
    path.write_bytes(b"{}\n")
    with pytest.raises(EvidenceError, match=r"intoto\.jsonl: not a bundle \(spec 6: line 1: .*\); restore it$"):
        bundle.of_batch(batch)
    path.unlink()
    with pytest.raises(EvidenceError, match=r"there is no bundle; `unlearning attest --batch b1` makes one$"):
        bundle.roots(batch)
    for said in ([], {}, {"valid_for": {}}, {"valid_for": {"model.safetensors": None}}):
        files.write_json(batch.certificate, said)
        with pytest.raises(EvidenceError, match=r"has no certificate that names its weights; certify it first$"):
            bundle.file(batch)


def test_a_file_that_is_not_there_is_no_bundle_and_no_trust(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"cannot be read \(No such file or directory\); a bundle's file is right$"):
        bundle_verification.verify_file(tmp_path / "bundle", trust.Trust(()))
    with pytest.raises(EvidenceError, match=r"there is no trust file to read; `unlearning keys export` writes one$"):
        trust.load(tmp_path / "trust.json")


def test_what_a_run_was_on_is_in_its_provenance(whole: tuple[Params, BatchFolder]) -> None:
    params, batch = whole
    recorded = files.read_json(batch.lineage("unlearned_checkpoint"))
    facts = {"device": "cpu", "steps": 5, "seconds": 1.5}
    files.write_json(batch.lineage("unlearned_checkpoint"), {**recorded, "facts": facts})
    certify.run(params, batch, silent)
    said = bundle.of_batch(batch).provenance
    assert said is not None
    inside = said.buildDefinition.internalParameters
    assert (inside["device"], inside["steps"], "processes" in inside) == ("cpu", 5, False)


def test_what_was_found_by_what_is_counted_over_the_requests_that_are_served() -> None:
    one = {"state": "scheduled", "selectors": {"class": 1}, "same_pixels": 2, "train": 5, "holdout": 1}
    two = {**one, "selectors": {"class": 1, "sample_key": 3}, "perceptual": 4, "embedding": 0}
    other = {**two, "state": "in_review"}
    assert statements.found_by({"forget": 11, "requests": [one, two, other, two]}) == {
        "rows": 11,
        "requests": 3,
        "by.class": 3,
        "by.sample_key": 6,
        "same_pixels": 6,
        "train": 15,
        "holdout": 3,
        "near.perceptual": 8,
        "near.embedding": 0,
    }


def test_a_provenance_without_weights_is_about_no_model() -> None:
    tree = draft(1, "issued").statement("provenance/v1")
    assert predicates.statement(tree).predicate
    tree["subject"][0]["name"] = "log.jsonl"
    with pytest.raises(ValueError, match=r"subject: model\.safetensors is among the files of the checkpoint"):
        predicates.statement(tree)
