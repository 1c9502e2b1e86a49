"""A certificate is a function of the files of its batch: whole, from a batch that was written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import batch_by_hand
from tests.evidence.batch_by_hand import ISSUED_AT, asked, put
from unlearning import digests, files
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import certificate, claims, exactness, lineage, purge
from unlearning.evidence.lineage import Record
from unlearning.evidence.purge import Location, Purged, Scan
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.workspace import BatchFolder


@pytest.fixture
def params(by_hand: tuple[Params, Path]) -> Params:
    return by_hand[0]


def records_of(batch: BatchFolder) -> dict[str, Record]:
    return {asset: lineage.read(batch, asset) for asset in certificate.ASSETS}


def composed(batch: BatchFolder, params: Params) -> dict[str, Any]:
    return certificate.compose(batch, records_of(batch), params.model_dump(mode="json"), ISSUED_AT)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return str(caught.value)


def resolution(batch: BatchFolder, **changes: Any) -> None:
    path = batch.asset("forget_manifest") / "resolution.json"
    files.write_json(path, {**files.read_json(path), **changes})


def test_every_field_is_of_the_files(batch: BatchFolder, params: Params) -> None:
    tree, records = params.model_dump(mode="json"), records_of(batch)
    report = files.read_json(batch.report)
    verdict = certificate.judged(report, records, tree, batch)
    unlearned = records["unlearned_checkpoint"]
    assert composed(batch, params) == {
        "schema": "erasure-certificate/1",
        "batch": "b1",
        "goal": "unreconstructable",
        "issued_at": ISSUED_AT,
        "status": "issued",
        "claim_level": "C1",
        "verdict": "passed",
        "criteria": verdict.as_rows(),
        "requests": {"count": 2, "ids": ["r-1", "r-2"]},
        "valid_for": {
            "unlearned_checkpoint": unlearned.sha256,
            "model.safetensors": digests.of_bytes(b"new b1"),
        },
        "policy": {"tier": "approximate", "rule": None, "reason": "a test"},
        "claims": {
            "algorithm": {part: tree["unlearn"][part] for part in ("method", "merge", "scope")},
            "code": batch_by_hand.CODE,
            "inputs": unlearned.inputs,
            "tests": ["integrity", "retention", "forgetting", "forgetting_trained", "over_forgetting"],
        },
        "not_claimed": claims.not_claimed("C1", report, verdict),
        "assets": {
            name: {
                "sha256": record.sha256,
                "files": [asdict(one) for one in record.outputs],
                "inputs": record.inputs,
                "params_sha256": params.section_digest(*STAGES[name].params),
                "code": batch_by_hand.CODE,
                "made_at": batch_by_hand.MADE_AT,
                "lineage_sha256": digests.of_file(batch.lineage(name)),
            }
            for name, record in records.items()
        },
        "params": tree,
        "params_sha256": digests.of_value(tree),
    }


def test_a_refused_model_is_certified_as_refused(batch: BatchFolder, params: Params) -> None:
    batch_by_hand.report(batch, params, forgetting=0.5)
    said = composed(batch, params)
    assert (said["status"], said["verdict"], said["claim_level"]) == ("refused", "refused", "none")
    assert said["claims"]["tests"] == ["integrity", "retention", "forgetting_trained", "over_forgetting"]


@pytest.mark.parametrize("tier", ["exact", "retrain"])
def test_an_exact_way_is_held_against_the_reference(batch: BatchFolder, params: Params, tier: str) -> None:
    plan = batch.asset("deletion_plan") / "plan.json"
    files.write_json(plan, {**files.read_json(plan), "tier": tier})
    said = composed(batch, params)
    weights = [digests.of_bytes(content) for content in (b"new b1", b"reference b1")]
    compare = exactness.replayed if tier == "exact" else exactness.retrained
    assert said["exactness"] == compare(records_of(batch), *weights)
    assert said["claim_level"] == "C1"


def test_what_was_trained_again_whole_with_its_log_is_c3(batch: BatchFolder, params: Params) -> None:
    plan = batch.asset("deletion_plan") / "plan.json"
    files.write_json(plan, {**files.read_json(plan), "tier": "retrain"})
    same = {"model.safetensors": b"reference b1", "log.jsonl": b"1"}
    put(batch, params, "unlearned_checkpoint", same)
    batch_by_hand.report(batch, params)
    said = composed(batch, params)
    assert (said["claim_level"], said["exactness"]["replay"]) == ("C3", "bit-equal")
    assert "training log" in said["not_claimed"][-1]
    put(batch, params, "unlearned_checkpoint", {"trace.json": b"1"})
    batch_by_hand.report(batch, params)
    assert "training trace" in composed(batch, params)["not_claimed"][-1]


def test_a_checkpoint_without_weights_is_valid_for_none(batch: BatchFolder, params: Params) -> None:
    (batch.unlearned / "model.safetensors").rename(batch.unlearned / "weights")
    batch_by_hand.recorded(batch, params, "unlearned_checkpoint")
    batch_by_hand.report(batch, params)
    said = composed(batch, params)
    assert (said["valid_for"]["model.safetensors"], said["status"]) == (None, "refused")


def test_which_weights_lie_there_is_not_asked_of_the_report(batch: BatchFolder, params: Params) -> None:
    report, tree = files.read_json(batch.report), params.model_dump(mode="json")
    lying = {**report, "weights": {role: "0f" * 32 for role in certificate.ROLES}}
    assert certificate.judged(lying, records_of(batch), tree, batch).passed
    put(batch, params, "unlearned_checkpoint", {"model.safetensors": b"original"})
    lying["checkpoints"] = {role: records_of(batch)[f"{role}_checkpoint"].sha256 for role in certificate.ROLES}
    assert not certificate.judged(lying, records_of(batch), tree, batch).passed
    for role in certificate.ROLES:
        other = {**report, "checkpoints": {**report["checkpoints"], role: "0f" * 32}}
        assert not certificate.judged(other, records_of(batch), tree, batch).passed


def test_thresholds_are_those_of_the_parameters(batch: BatchFolder) -> None:
    strict = batch_by_hand.toy_params(**{"gates.forgetting_at_least.value": 0.96}).model_dump(mode="json")
    verdict = certificate.judged(files.read_json(batch.report), records_of(batch), strict, batch)
    assert not verdict.passed


def named(verdict_of: Mapping[str, Any]) -> list[str]:
    return [row["name"] for row in verdict_of["criteria"]]


def test_what_was_forgotten_before_is_asked_for(batch: BatchFolder, params: Params) -> None:
    assert certificate.forgotten_before(batch) == ()
    resolution(batch, earlier=[{"batch": "b0"}, {"batch": 7}])
    assert certificate.forgotten_before(batch) == ("b0", "7")
    said = composed(batch, params)
    assert (said["status"], "earlier" in named(said)) == ("refused", True)


@pytest.mark.parametrize("earlier", [7, [7], [{}], {"batch": "b0"}, [None]])
def test_a_manifest_that_does_not_say_what_was_forgotten(batch: BatchFolder, earlier: Any) -> None:
    resolution(batch, earlier=earlier)
    path = batch.asset("forget_manifest") / "resolution.json"
    assert refused(lambda: certificate.forgotten_before(batch)) == f"{path}: does not say what was forgotten before"
    path.write_bytes(b"[]")
    assert refused(lambda: certificate.forgotten_before(batch)) == f"{path}: does not say what was forgotten before"
    path.unlink()
    with pytest.raises(StorageError):
        certificate.forgotten_before(batch)


def purge_record(batch: BatchFolder, key: str, *kept: int) -> None:
    places = [Location(purge.KEPT, "none", count, 0, count, None, "2027-01-01T00:00:00+00:00", None) for count in kept]
    times = ("2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00")
    told = Purged(key, "toys", "complete", *times, {"name": "unlearning"}, tuple(places), Scan(1, 2, 0))
    path = batch.asset("forget_manifest") / "purged" / f"{key}.json"
    files.write_json(path, {"schema": "purge/1", **asdict(told)})


def test_images_that_are_gone_excuse_a_batch_from_being_measured(batch: BatchFolder, params: Params) -> None:
    assert certificate.purged_before(batch) == {}
    told = {"last_measured": "b5"}
    resolution(
        batch,
        earlier=[
            {"batch": "k1", "purged": told},
            {"batch": "m1"},
            *({"batch": one, "purged": told} for one in ("n1", "n2")),
        ],
    )
    purge_record(batch, "k1", 2)
    purge_record(batch, "n1")
    purge_record(batch, "n2", 0)
    assert certificate.purged_before(batch) == {
        one: f"batch {one} (on 2026-01-03, last measured in b5)" for one in ("n1", "n2")
    }
    resolution(batch, earlier=[{"batch": "n1", "purged": told}])
    said = composed(batch, params)
    assert (said["status"], "earlier_purged" in named(said)) == ("issued", True)


@pytest.mark.parametrize(
    "earlier", [7, [7], [{"batch": "n1", "purged": None}], [{"purged": {}}], [{"batch": "n1", "purged": {}}]]
)
def test_a_manifest_that_does_not_say_what_was_purged(batch: BatchFolder, earlier: Any) -> None:
    purge_record(batch, "n1")
    resolution(batch, earlier=earlier)
    home = batch.asset("forget_manifest")
    assert refused(lambda: certificate.purged_before(batch)) == f"{home}: does not say what was purged before"


def test_a_purge_record_of_another_batch_excuses_nobody(batch: BatchFolder) -> None:
    purge_record(batch, "n1")
    home = batch.asset("forget_manifest") / "purged"
    (home / "n1.json").rename(home / "n2.json")
    resolution(batch, earlier=[{"batch": "n2", "purged": {"last_measured": "b5"}}])
    assert "n2.json: does not add up" in refused(lambda: certificate.purged_before(batch))


def test_the_digest_of_sections_is_the_one_of_the_records(params: Params) -> None:
    tree = params.model_dump(mode="json")
    assert "policy" not in tree  # a section that says nothing is not written
    for name, stage in STAGES.items():
        assert certificate.sections_sha256(tree, name) == params.section_digest(*stage.params)
    with_policy = {**tree, "policy": {"days": 3}}
    assert certificate.sections_sha256(with_policy, "deletion_plan") == digests.of_value(
        {name: with_policy[name] for name in STAGES["deletion_plan"].params}
    )
    with pytest.raises(KeyError, match="gates"):
        certificate.sections_sha256({}, "certificate")


def test_a_report_is_about_this_batch_and_its_sealed_goal(batch: BatchFolder, params: Params) -> None:
    report = files.read_json(batch.report)
    right = "batch 'b1' and its sealed goal 'unreconstructable' are right"
    for changes, about in (
        ({"batch": "b" * 65}, f"batch '{'b' * 64}' and goal 'unreconstructable'"),
        ({"goal": "n" * 65}, f"batch 'b1' and goal '{'n' * 64}'"),
        ({"batch": None, "goal": None}, "batch 'None' and goal 'None'"),
    ):
        files.write_json(batch.report, {**report, **changes})
        assert refused(lambda: composed(batch, params)) == f"{batch.report}: is about {about}; {right}"
    files.write_json(batch.report, [])
    assert refused(lambda: composed(batch, params)) == f"{batch.report}: not a report"


def test_requests_that_wait_for_an_officer_are_not_counted(batch: BatchFolder, params: Params) -> None:
    """The same id under another controller is another request."""
    listed = [asked(1, "in_review"), {**asked(1), "controller_id": "shop-2"}, asked(4, "done")]
    resolution(batch, requests=listed)
    lines = b"".join(files.canonical({**one, "state": ""}) + b"\n" for one in [*listed, asked(0)])
    batch.requests.write_bytes(lines)
    assert composed(batch, params)["requests"] == {"count": 3, "ids": ["r-0", "r-1", "r-4"]}


@pytest.mark.parametrize(
    "lines",
    [b"{}\n", b"{\n", b"\xff\n", b"[]\n", b'{"request_id":7,"controller_id":"c"}\n', b'{"request_id":"r"}\n', None],
)
def test_what_are_no_sealed_requests(batch: BatchFolder, params: Params, lines: bytes | None) -> None:
    told = f"{batch.requests}: not the sealed requests, or nothing says what became of them"
    if lines is None:
        batch.requests.unlink()
    else:
        batch.requests.write_bytes(lines)
    assert refused(lambda: composed(batch, params)) == told


@pytest.mark.parametrize("requests", [None, [7], [{}], [{"controller_id": "c", "state": "in_review"}], {}])
def test_nothing_that_says_what_became_of_requests(batch: BatchFolder, params: Params, requests: Any) -> None:
    told = f"{batch.requests}: not the sealed requests, or nothing says what became of them"
    resolution(batch, requests=requests)
    if requests == {}:
        assert composed(batch, params)["requests"]["count"] == 3
    else:
        assert refused(lambda: composed(batch, params)) == told
    path = batch.asset("forget_manifest") / "resolution.json"
    files.write_json(path, {})
    assert refused(lambda: composed(batch, params)) == told
