"""The asset graph, batch by batch: what is made, what is recorded, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import pytest

from pipelines import evidence
from tests.pipelines.conftest import Ran
from tests.pipelines.line import Line, ToyCompute, checks, failures, materialized
from unlearning import digests, files
from unlearning.evidence import lineage, promotion
from unlearning.requests.ledger import Ledger
from unlearning.stages import STAGES
from unlearning.verbs import verify


def _client(line: Line) -> mlflow.MlflowClient:
    uri = f"sqlite:///{line.workspace.root.resolve() / 'mlflow' / 'mlflow.db'}"
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _runs(line: Line) -> list[Any]:
    client = _client(line)
    return list(client.search_runs([client.get_experiment_by_name("digits-mae").experiment_id]))


def _inputs(materialization: dg.AssetMaterialization) -> dict[str, dict[str, str]]:
    table: Any = materialization.metadata["inputs"]
    return {record.data["input"]: record.data for record in table.records}


def test_the_whole_graph_is_made_and_the_model_is_served(ran: Ran) -> None:
    made = materialized(ran.first)
    assert ran.first.success
    assert set(made) == {*STAGES, "model_promotion"}
    for name in STAGES:
        record = lineage.read(ran.line.batch("b1"), name)
        assert made[name].partition == "b1"
        assert made[name].tags["dagster/data_version"] == f"sha256:{record.sha256}"
        assert made[name].metadata["sha256"].value == record.sha256
        assert made[name].metadata["reused"].value is False
    served = promotion.champion(ran.line.workspace, "digits-mae")
    assert served is not None
    assert served.batch == "b1"
    assert [entry.state for entry in Ledger(ran.line.workspace.ledger).entries("b1")] == ["promoted"]


def test_what_takes_seconds_goes_before_what_trains(ran: Ran) -> None:
    order = list(materialized(ran.first))
    assert order.index("retain_proxy_set") < min(order.index(name) for name, stage in STAGES.items() if stage.trains)


def test_the_checks_say_what_the_gates_say(ran: Ran) -> None:
    verdict = promotion.judge(ran.line.read_params(), ran.line.batch("b1"))
    said = checks(ran.first)
    for criterion in verdict.criteria:
        assert said[criterion.name].passed == (criterion.status == "pass")
        assert said[criterion.name].description == criterion.sentence
        assert said[criterion.name].partition == "b1"
    rest = said.keys() - {criterion.name for criterion in verdict.criteria}
    assert rest == {"reference_distance", "sibling_retention", "earlier", "attacks", "metrics"}
    assert said["attacks"].passed
    assert said["attacks"].description == "no threshold is set"
    assert said["sibling_retention"].description == "gates.sibling_retention_at_least is not set"
    assert said["reference_distance"].passed
    assert said["reference_distance"].description == "does not apply to the goal unreconstructable"


def test_a_batch_made_from_another_base_is_not_served_and_says_why(ran: Ran) -> None:
    assert [name for name, check in checks(ran.second).items() if not check.passed] == []
    assert "promoting would undo it: make the batch again from version 1" in failures(ran.second)["model_promotion"]


def test_inputs_are_the_events_of_the_same_batch(ran: Ran) -> None:
    """The newest event of an asset is another batch's: Dagster's own tags would name it."""
    again = ran.line.run("b1", only=["evaluation_report"])
    rows = _inputs(materialized(again)["evaluation_report"])
    for name in STAGES["evaluation_report"].inputs:
        if name == "image_dataset":
            assert rows[name]["made_by"] == "outside Dagster"
            continue
        record = lineage.read(ran.line.batch("b1"), name)
        assert rows[name]["sha256"] == record.sha256
        assert rows[name]["made_by"].startswith(f"run {ran.first.run_id[:8]}, event ")
    newest = ran.line.instance.get_latest_materialization_event(dg.AssetKey("forget_manifest"))
    assert newest is not None
    assert newest.run_id == ran.second.run_id
    found = evidence.upstream(ran.line.instance, "b1", ["forget_manifest", "nothing_like_it"])
    assert {name: event.run_id for name, event in found.items()} == {"forget_manifest": ran.first.run_id}


def test_mlflow_has_one_run_an_asset_and_batch(ran: Ran) -> None:
    runs = [run for run in _runs(ran.line) if run.data.tags["unlearning.batch"] == "b1"]
    assert sorted(run.data.tags["unlearning.asset"] for run in runs) == sorted([*STAGES, "model_promotion"])
    assert {run.info.status for run in runs} == {"FINISHED"}
    by_asset = {run.data.tags["unlearning.asset"]: run for run in runs}
    unlearned = by_asset["unlearned_checkpoint"]
    assert unlearned.data.params["unlearn.budget.steps"] == str(ran.line.read_params().unlearn.budget.steps)
    assert unlearned.data.tags["dagster.run_id"] == ran.first.run_id
    assert unlearned.data.tags["dagster.partition"] == "b1"
    assert unlearned.data.metrics["steps"] == 3
    datasets = {given.dataset.name: json.loads(given.dataset.source) for given in unlearned.inputs.dataset_inputs}
    assert datasets.keys() == {"toys", "forget_manifest", "retain_proxy_set"}
    sha256 = lineage.read(ran.line.batch("b1"), "forget_manifest").sha256
    assert datasets["forget_manifest"]["sha256"] == sha256
    assert datasets["forget_manifest"]["uri"] == "dvc://var/batches/b1/forget_manifest"
    assert by_asset["evaluation_report"].data.metrics["forgetting.low"] == pytest.approx(0.94)
    shown = {file.path for file in _client(ran.line).list_artifacts(by_asset["evaluation_report"].info.run_id)}
    assert shown == {"lineage", "report.json"}


def test_no_file_that_names_samples_goes_to_mlflow(ran: Ran) -> None:
    kept = {path.name for path in (ran.line.workspace.root / "mlflow" / "artifacts").rglob("*") if path.is_file()}
    assert {"certificate.json", "report.json", "model.safetensors"} <= kept
    signed = {name for name in kept if name.endswith(".erasure.intoto.jsonl")}
    assert len(signed) == 2  # of both batches; a bundle holds roots and counts
    assert {name for name in kept if name.endswith((".parquet", ".jsonl"))} == signed
    weights = [path.read_bytes() for path in (ran.line.workspace.root / "mlflow").rglob("model.safetensors")]
    assert weights
    assert not [content for content in weights if b"original" in content]  # they remember what is to go


def test_the_registry_is_a_picture_of_the_champion(ran: Ran) -> None:
    client = _client(ran.line)
    served = promotion.champion(ran.line.workspace, "digits-mae")
    assert served is not None
    assert served.previous is not None
    champion = client.get_model_version_by_alias("digits-mae", "champion")
    assert champion.tags["sha256"] == served.sha256
    assert champion.tags["batch"] == "b1"
    assert client.get_model_version_by_alias("digits-mae", "previous").tags["sha256"] == served.previous["sha256"]
    candidate = client.get_model_version_by_alias("digits-mae", "candidate")
    assert candidate.tags["batch"] == "b2"  # it waits: its promotion was refused


def test_the_signed_bundle_is_named_where_it_was_made_and_where_it_is_served(ran: Ran) -> None:
    made = materialized(ran.first)
    for name, sequence in (("certificate", "0"), ("model_promotion", "1")):
        shown = made[name].metadata
        assert (shown["bundle.claim_level"].value, shown["bundle.sequence"].value) == ("C1", sequence)
        assert str(shown["bundle.key_ids"].value).count(" ") == 1
        assert str(shown["bundle"].value).endswith(".erasure.intoto.jsonl")
    assert verify.run(ran.line.batch("b1").path).signed_by


def test_a_second_run_reuses_everything_and_launches_nothing(ran: Ran) -> None:
    runs = len(_runs(ran.line))
    before = digests.of_folder(ran.line.batch("b1").path)
    again = ran.line.run("b1", compute=ToyCompute(refuses="unlearned_checkpoint"))
    assert again.success
    assert all(made.metadata["reused"].value for name, made in materialized(again).items() if name in STAGES)
    assert materialized(again)["model_promotion"].metadata["changed"].value is False
    assert digests.of_folder(ran.line.batch("b1").path) == before
    assert len(_runs(ran.line)) == runs


def test_what_dvc_cannot_keep_is_said(ran: Ran) -> None:
    said = materialized(ran.first)["unlearned_checkpoint"].metadata["dvc"].value
    assert said == f"not kept: there is no dvc.yaml in {ran.line.home}"


def test_a_gate_that_refuses_leaves_a_certificate_and_serves_nothing(line: Line) -> None:
    result = line.run("b1", compute=ToyCompute(forgetting=0.5))
    assert not result.success
    assert "certificate" in materialized(result)
    assert "model_promotion" not in materialized(result)
    assert not checks(result)["forgetting"].passed
    assert checks(result)["forgetting"].description.startswith("0.500 (>= 0.9)")
    assert checks(result)["retention"].passed
    said = files.read_json(line.batch("b1").certificate)
    assert (said["status"], said["claim_level"]) == ("refused", "none")
    assert [entry.state for entry in Ledger(line.workspace.ledger).entries("b1")] == ["failed"]

    alone = line.run("b1", only=["model_promotion"])
    assert not alone.success
    assert "is refused by its gates (forgetting: 0.500" in failures(alone)["model_promotion"]
    assert promotion.champion(line.workspace, "digits-mae") is None


def test_a_warning_blocks_nothing(line: Line) -> None:
    result = line.run("b1", compute=ToyCompute(forgetting=1.4))
    advice = checks(result)["over_forgetting"]
    assert result.success
    assert not advice.passed
    assert advice.severity == dg.AssetCheckSeverity.WARN


def test_a_verbs_own_sentence_ends_the_run(line: Line) -> None:
    result = line.run("b1", compute=ToyCompute(refuses="reference_checkpoint"))
    assert failures(result) == {
        "reference_checkpoint": "shard toys-000000.tar is truncated at byte 512; fetch it again"
    }
    assert "evaluation_report" not in materialized(result)
    [run] = [run for run in _runs(line) if run.data.tags["unlearning.asset"] == "reference_checkpoint"]
    assert run.info.status == "FAILED"

    healed = line.run("b1")
    assert healed.success
    [same] = [run for run in _runs(line) if run.data.tags["unlearning.asset"] == "reference_checkpoint"]
    assert (same.info.run_id, same.info.status) == (run.info.run_id, "FINISHED")


def test_a_typo_in_the_parameters_is_named(line: Line) -> None:
    result = line.run("b1", only=["deletion_requests"], **{"unlearn.budget.stepz": 8})
    assert "there is no key 'unlearn.budget.stepz'" in failures(result)["deletion_requests"]


def test_an_input_that_is_not_made_yet_is_named(line: Line) -> None:
    result = line.run("b1", only=["unlearned_checkpoint"])
    assert (
        "unlearned_checkpoint needs forget_manifest, which is not made yet" in failures(result)["unlearned_checkpoint"]
    )


def test_a_batch_with_nothing_to_forget_is_refused(line: Line) -> None:
    assert line.run("b1", only=["deletion_requests"]).success
    sentence = failures(line.run("b2", only=["deletion_requests"]))["deletion_requests"]
    assert "b2" in sentence
    assert not line.batch("b2").requests.exists()


def test_gates_that_cannot_read_a_report_fail(line: Line) -> None:
    assert line.run("b1").success
    line.batch("b1").report.unlink()
    result = line.run("b1", only=["certificate"])
    assert not result.success
    assert not Path(line.batch("b1").report).exists()
