"""What an earlier batch forgot must still be forgotten: a closed form, two batches really made, and what refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.evaluation.small_run import Trained
from tests.toy_batch import request_body, request_id
from unlearning import files, gates
from unlearning.evidence import claims
from unlearning.gates import Criterion
from unlearning.log import silent
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import (
    _asset,
    _earlier,
    certify,
    evaluate,
    plan,
    promote,
    request,
    resolve,
    retain,
    seal,
    train,
    unlearn,
)
from unlearning.verbs._measure import MEAN_PICTURE
from unlearning.workspace import BatchFolder

SOURCE = "a threshold of this test"
QUICK = {  # what a short run reaches, so that no bound but the one in question refuses
    "gates.forgetting_at_least": {"value": 0.3, "source": SOURCE},
    "gates.retention_at_least": {"value": 0.5, "source": SOURCE},
    "evaluate.seeds": [0, 1],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
}


@dataclass(frozen=True)
class Two:
    """A first batch that was served, and a second that started from it, made up to its report."""

    params: Params
    first: BatchFolder
    second: BatchFolder

    def report(self, **changes: Any) -> dict[str, Any]:
        """The second batch's report, evaluated anew with `changes`."""
        self.second.lineage("evaluation_report").unlink(missing_ok=True)
        tree = self.params.model_dump(mode="json")
        evaluate.run(_changed(tree, changes), self.second, silent)
        found: dict[str, Any] = files.read_json(self.second.report)
        return found


def _changed(tree: dict[str, Any], changes: dict[str, Any]) -> Params:
    for name, value in changes.items():
        section, field = name.split(".")
        tree[section][field] = value
    return Params.model_validate(tree)


@pytest.fixture(scope="module")
def made(short_run: Trained, tmp_path_factory: pytest.TempPathFactory) -> Two:
    trained = short_run.copied(tmp_path_factory.mktemp("two") / "root")
    params, first = trained.params_with(**QUICK), trained.batch
    evaluate.run(params, first, silent)
    certify.run(params, first, silent)
    promote.run(params, first)
    second = first.workspace.batch("b2")
    body = request_body(request_id=request_id(9), dataset="digits", selectors=[{"class": "5", "approved_by": "dpo"}])
    path = first.workspace.root / "second.json"
    path.write_text(json.dumps(body))
    request.add(path, first.workspace)
    for verb in (seal, resolve, retain, plan):
        verb.run(params, second, silent)
    train.run(params, second, silent, "original")

    def reference(folder: Path, key: str) -> dict[str, Any]:  # that of the first never saw what the first forgot
        shutil.copytree(first.reference, folder, dirs_exist_ok=True)
        return {}

    _asset.make("reference_checkpoint", params, second, silent, reference)
    unlearn.run(params, second, silent)
    evaluate.run(params, second, silent)
    return Two(params, first, second)


@pytest.fixture
def two(made: Two, tmp_path: Path) -> Two:
    shutil.copytree(made.first.workspace.root, tmp_path / "root")
    workspace = type(made.first.workspace)(tmp_path / "root")
    return Two(made.params, workspace.batch("b1"), workspace.batch("b2"))


def _row(report: dict[str, Any]) -> dict[str, Any]:
    (found,) = [row for row in report["criteria"] if row["name"] == "earlier"]
    return found  # type: ignore[no-any-return]


def _put(batch: BatchFolder, params: Params, folder_of: Path) -> None:
    """Those weights in the unlearned model's place."""

    def fill(folder: Path, key: str) -> dict[str, Any]:
        shutil.copytree(folder_of, folder, dirs_exist_ok=True)
        return {}

    batch.lineage("unlearned_checkpoint").unlink()
    _asset.make("unlearned_checkpoint", params, batch, silent, fill)


def test_the_score_and_its_drop_are_what_the_formula_says() -> None:
    knew, nothing = np.array([[0.1, 0.1], [0.2, 0.2]]), np.array([[0.5, 0.5], [0.6, 0.6]])
    errors = {"original": knew, MEAN_PICTURE: nothing, "now": knew + 0.3, "then": knew + 0.38, "reference": nothing}
    table = pa.table({"key": ["a", "b"], "class": ["3", "3"]})
    plan = Params.model_fields["evaluate"].annotation.model_validate({"metrics": []})  # type: ignore[union-attr]
    entry = _earlier._entry(_earlier.Found("b1", "forget", table, 2, errors, True), plan)
    assert entry["forgetting"]["value"] == pytest.approx(0.75)  # (E_now - E_knew) / (E_nothing - E_knew)
    assert entry["certified"]["value"] == pytest.approx(0.95)
    assert entry["drop"]["value"] == pytest.approx(0.2)
    beyond = {**errors, "now": nothing, "then": nothing + 0.4}  # certified as worse than knowing nothing
    assert _earlier._entry(_earlier.Found("b1", "forget", table, 2, beyond, True), plan)["drop"][
        "value"
    ] == pytest.approx(0)


def test_a_second_batch_that_restores_nothing_passes_and_says_so(made: Two) -> None:
    report = files.read_json(made.second.report)
    row = _row(report)
    assert (row["status"], row["blocking"], row["bound"]) == ("pass", True, "<= 0.1")
    (entry,) = report["earlier"]["batches"]
    assert entry["batch"] == "b1"
    assert entry["sets"]["forget"]["then"] == "as recorded"
    then = files.read_json(made.first.report)["scores"]
    assert entry["sets"]["forget"]["certified"]["value"] == pytest.approx(then["forgetting_trained"]["value"])
    assert entry["sets"]["forget_holdout"]["certified"]["value"] == pytest.approx(then["forgetting"]["value"])
    score = report["scores"]["earlier_forgetting"]
    assert score["value"] == entry["sets"]["forget"]["forgetting"]["value"]
    assert score["low"] < score["value"] < score["high"]
    html = made.second.report.with_name("report.html").read_text()
    assert "Is what earlier batches forgot still forgotten?" in html
    assert "any attack on what 1 earlier batches of this model forgot" in html
    rows = pq.read_table(made.second.report.with_name("earlier.parquet"))
    assert set(rows["model"].to_pylist()) == {"now", "reference", "original", "then", MEAN_PICTURE}
    certify.run(made.params, made.second, silent)
    assert "earlier" in files.read_json(made.second.certificate)["claims"]["tests"]


def test_a_second_batch_that_restores_the_first_ones_images_is_refused(two: Two) -> None:
    _put(two.second, two.params, two.first.original)  # the model that had learnt them
    report = two.report()
    (entry,) = report["earlier"]["batches"]
    assert entry["sets"]["forget"]["forgetting"]["value"] == pytest.approx(0, abs=1e-3)
    assert _row(report)["status"] == "fail"
    assert "batch b1 had forgotten when it was certified came back" in _row(report)["sentence"]
    assert report["verdict"] == "refused"
    certify.run(two.params, two.second, silent)
    assert files.read_json(two.second.certificate)["status"] == "refused"


def test_a_model_that_did_not_change_has_lost_nothing(two: Two) -> None:
    _put(two.second, two.params, two.second.original)  # the champion: it is what the first batch was certified with
    (entry,) = two.report()["earlier"]["batches"]
    for one in entry["sets"].values():
        assert one["forgetting"]["value"] == pytest.approx(one["certified"]["value"], abs=1e-3)


def test_a_report_made_otherwise_is_measured_again_from_the_models_of_then(two: Two) -> None:
    _put(two.second, two.params, two.first.original)
    report = two.report(**{"evaluate.seeds": [7]})
    found = report["earlier"]["batches"][0]["sets"]["forget"]
    assert found["then"] == "measured again"
    assert found["forgetting"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["certified"]["value"] > 0.3
    assert _row(report)["status"] == "fail"


def test_what_can_no_longer_be_measured_refuses(two: Two) -> None:
    shutil.rmtree(two.first.original)
    shutil.rmtree(two.first.asset("evaluation_report"))
    report = two.report()
    assert _row(report)["status"] == "not_measured"
    assert "its evaluation was made otherwise than this one" in report["earlier"]["batches"][0]["not_measured"]
    assert report["verdict"] == "refused"


def test_a_sample_is_measured_in_the_holes_of_the_whole_set(two: Two, made: Two) -> None:
    whole = pq.read_table(made.second.report.with_name("earlier.parquet"))
    report = two.report(**{"evaluate.max_images": 24})
    found = report["earlier"]["batches"][0]["sets"]["forget"]
    assert found["images"] == 24 < found["of"]
    some = pq.read_table(two.second.report.with_name("earlier.parquet"))
    names = ("set", "key", "model", "draw")
    before = {tuple(row[name] for name in names): row["error"] for row in whole.to_pylist()}
    for row in some.to_pylist():
        assert row["error"] == pytest.approx(before[tuple(row[name] for name in names)], rel=1e-4)


def test_no_report_decides_what_it_must_have_measured(made: Two) -> None:
    report = files.read_json(made.second.report)
    report.pop("earlier")
    bounds = made.params.gates
    silent_one = gates.evaluate(report, bounds, report["checkpoints"], ("b1",))
    assert not silent_one.passed
    (row,) = [one for one in silent_one.criteria if one.name == "earlier"]
    assert row.status == "not_measured"
    assert "earlier" not in {one.name for one in gates.evaluate(report, bounds, report["checkpoints"]).criteria}


@pytest.mark.parametrize(
    ("drops", "status"),
    [
        ({"b1": 0.1, "b2": -0.3}, "pass"),
        ({"b1": 0.0, "b2": 0.11}, "fail"),
        ({"b1": None, "b2": 0.0}, "not_measured"),
        ({"b1": float("nan"), "b2": 0.0}, "not_measured"),
    ],
)
def test_the_batch_of_which_most_came_back_decides(made: Two, drops: dict[str, float | None], status: str) -> None:
    entries = [{"batch": key, "sets": {"forget": {"drop": {"value": value}}}} for key, value in drops.items()]
    found = _criterion({"earlier": {"batches": entries}}, made)
    assert (found.status, found.blocking) == (status, True)


def _criterion(report: dict[str, Any], made: Two) -> Criterion:
    (found,) = [
        one for one in gates.evaluate(report, made.params.gates, {}, ("b1", "b2")).criteria if one.name == "earlier"
    ]
    return found


def test_nobody_says_that_purged_images_were_drawn_again() -> None:
    drawn, purged = {"batch": "b2", "sets": {}}, {"batch": "b1", "purged": {"last_measured": "b2"}}
    (said,) = claims._of_earlier({"earlier": {"batches": [purged, drawn]}})
    assert "what 1 earlier batches" in said
    assert list(claims._of_earlier({"earlier": {"batches": [purged]}})) == []


def test_a_first_batch_claims_nothing_about_earlier_ones(made: Two) -> None:
    report = files.read_json(made.first.report)
    assert "earlier" not in report
    assert not any("earlier batches" in one for one in claims._of_earlier(report))
    assert checkpoint.weights_sha256(made.first.unlearned) == checkpoint.weights_sha256(made.second.original)
