"""Every tier of the policy through the graph; a drift budget that three batches spend; refusals leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests import toy_batch, toys
from tests.pipelines.greys import file_for, root_of_greys
from tests.pipelines.line import OVERRIDES, Line, errors, failures, materialized
from tests.pipelines.same_process import SameProcess
from unlearning import files
from unlearning.data import manifest
from unlearning.errors import EvidenceError, PolicyError
from unlearning.evidence import drift, lineage, plan, promotion, verification
from unlearning.log import silent
from unlearning.params import Params
from unlearning.requests.ledger import Ledger
from unlearning.stages import STAGES
from unlearning.training import checkpoint
from unlearning.verbs import stage

_BUDGET = {"steps": 120, "batch_size": 8, "warmup_steps": 5, "learning_rate": 1e-2}
_MOVE = {"method": {"kind": "naive_deletion"}, "budget": {"steps": 3}}
RULES = [
    {"when": {"images_at_most": 10}, "then": "approximate", "unlearn": _MOVE, "because": "few images may be moved"},
    {"then": "retrain", "because": "nothing cheaper may be promised"},
]
SMALL: dict[str, Any] = {
    "generator": {"kind": "mae", **toys.SMALL_MAE},
    "original": _BUDGET,
    "unlearn.budget": {**_BUDGET, "weight_decay": 0.0},
    "evaluate.bootstrap": 100,
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
    # What the gates say of so few steps is chance, and is tested elsewhere.
    "gates.retention_at_least.value": -1e3,
    "gates.reference_distance_at_most.value": 1e3,
    "report.pictures": 2,
    "policy": {"rules": RULES, "drift": {"deletions": 2, "distance": 10.0}},
}
MODEL = "digits-mae"


@pytest.fixture(scope="module")
def greys(repository: Path, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Line]:
    home = tmp_path_factory.mktemp("policy")
    root_of_greys(home, empty_database)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Line(home, repository / "params.yaml", instance)


def _served(line: Line, key: str, number: int) -> promotion.Champion:
    file_for(line, number, f"person-{number}")
    done = line.run(key, compute=SameProcess(), **SMALL)
    assert materialized(done).keys() == {*STAGES, "model_promotion"}, errors(done)
    assert verification.verify(line.batch(key).path).mismatches == ()
    now = promotion.champion(line.workspace, MODEL)
    assert now is not None
    return now


def test_a_drift_budget_of_two_makes_the_third_batch_a_retraining_without_all_three(greys: Line) -> None:
    for number in (1, 2):
        now = _served(greys, f"b{number}", number)
        assert (now.version, now.deletions_since_base) == (number, number)
        assert now.base is not None
        assert now.base["version"] == 0
        said = files.read_json(greys.batch(f"b{number}").certificate)
        assert (said["policy"]["tier"], said["claim_level"]) == ("approximate", "C1")
        assert said["claims"]["algorithm"]["method"]["kind"] == "naive_deletion"
    far = drift.distance(*(greys.workspace.root / place for place in (now.checkpoint, str(now.base["checkpoint"]))))

    now = _served(greys, "b3", 3)
    planned = plan.read(greys.batch("b3"))
    assert planned["tier"] == "retrain"
    assert f"this is the 3rd deletion since the base of {now.base['made_at'][:10]}" in str(planned["declined"])
    assert planned["drift"]["distance"] == pytest.approx(far)
    assert 0 < planned["drift"]["distance"] < 10
    assert [one["batch"] for one in planned["forgotten"]] == ["b1", "b2"]
    facts = lineage.read(greys.batch("b3"), "unlearned_checkpoint").facts
    forget = [lineage.read(greys.batch(f"b{number}"), "forget_manifest").facts for number in (1, 2, 3)]
    assert facts["left_out"] == sum(one["splits"]["train"] for one in forget)
    assert (now.deletions_since_base, now.base["version"], now.base["sha256"]) == (0, 3, now.sha256)
    reference = lineage.read(greys.batch("b3"), "reference_checkpoint").facts
    assert reference["left_out"] == facts["left_out"]  # it never saw what earlier batches forgot, either
    said = files.read_json(greys.batch("b3").certificate)
    assert (said["claim_level"], said["exactness"]["replay"]) == ("C3", "one training")

    # What an earlier batch forgot is stored still, and neither kept nor held out by a later one.
    first = manifest.read(greys.batch("b1").forget)
    for kept in (greys.batch("b2").retain, greys.batch("b2").holdout, greys.batch("b3").retain):
        assert len(manifest.minus(manifest.read(kept), first)) == len(manifest.read(kept))
    assert len(manifest.read(greys.batch("b3").earlier)) == sum(one["forget"] for one in forget[:2])

    # Made again after it was served, the first batch's plan is still the one it was carried out by.
    before = files.read_json(plan.file(greys.batch("b3")))
    greys.batch("b3").lineage(plan.ASSET).unlink()
    stage.run(plan.ASSET, _params(greys), greys.batch("b3"), silent)
    assert files.read_json(plan.file(greys.batch("b3"))) == before


def _params(line: Line, **chosen: Any) -> Params:
    return Params.read(line.params, {**OVERRIDES, **SMALL, **chosen})


def test_a_retraining_of_a_first_batch_is_the_reference_and_says_so(greys: Line) -> None:
    """The same bits, whether they are taken from the reference or trained here."""
    file_for(greys, 4, "person-4")
    chosen = {**SMALL, "model.name": "other", "policy.rules": RULES[1:]}
    done = greys.run("b4", compute=SameProcess(), **chosen)
    assert materialized(done).keys() == {*STAGES, "model_promotion"}, errors(done)
    batch = greys.batch("b4")
    said, facts = files.read_json(batch.certificate), lineage.read(batch, "unlearned_checkpoint").facts
    assert (said["status"], said["claim_level"]) == ("issued", "C3")
    assert facts["trained_as"] == ("reference_checkpoint" if said["exactness"]["replay"] == "one training" else "")
    taken = files.read_json(batch.unlearned / "checkpoint.json")
    (report,) = (files.read_json(batch.report),)
    assert report["policy"]["reason"] == said["policy"]["reason"]
    assert report["policy"]["reason"] in (batch.report.with_suffix(".html")).read_text()
    assert materialized(done)["deletion_plan"].metadata["tier"].value == "retrain"

    hidden = batch.lineage("reference_checkpoint").rename(batch.path / "reference.json")
    batch.lineage("unlearned_checkpoint").unlink()
    again = stage.run("unlearned_checkpoint", _params(greys, **chosen), batch, silent)
    hidden.rename(batch.lineage("reference_checkpoint"))
    assert again.facts["trained_as"] == "unlearned_checkpoint"
    assert checkpoint.weights_sha256(batch.unlearned) == checkpoint.weights_sha256(batch.reference)
    assert files.read_json(batch.unlearned / "checkpoint.json") == taken


def test_what_is_to_be_suppressed_is_not_unlearned_and_its_requests_stay_open(greys: Line) -> None:
    file_for(greys, 5, "person-5")
    late = [{"when": {"days_left_at_most": 9_999}, "then": "suppress", "because": "no time is left to train"}]
    ahead = [name for name in STAGES if name != "reference_checkpoint"]
    done = greys.run("b5", only=ahead, compute=SameProcess(), **{**SMALL, "policy.rules": late})
    assert materialized(done).keys() == set(ahead[: ahead.index("unlearned_checkpoint")])
    assert plan.read(greys.batch("b5"))["seen"]["days_left"] is not None
    sentence = failures(done).get("unlearned_checkpoint", "") or errors(done)
    assert "the policy unlearns nothing now (suppress by rule 1 (" in sentence
    assert (
        "digits-mae version 3 stays, without a filter of ours (`unlearning suppress --batch b5` makes one), "
        in sentence
    )
    # With it waits what another model has forgotten (b4) and this one has not.
    assert [entry.state for entry in Ledger(greys.workspace.ledger).entries("b5")] == ["scheduled"] * 2


def test_a_policy_without_an_admissible_way_is_refused_and_leaves_no_trace(greys: Line) -> None:
    file_for(greys, 6, "person-6")
    batch, none = greys.batch("b6"), _params(greys, **{"policy.rules": [{**RULES[0], "when": {"images_at_most": 0}}]})
    for name in ("deletion_requests", "forget_manifest"):
        stage.run(name, none, batch, silent)
    before = toy_batch.snapshot(greys.workspace.root)
    with pytest.raises(PolicyError, match="rule 1, approximate: training images to forget: 4, at most 0 is asked"):
        stage.run(plan.ASSET, none, batch, silent)
    assert toy_batch.snapshot(greys.workspace.root) == before


def test_a_batch_is_refused_where_what_was_forgotten_before_is_no_longer_known(greys: Line) -> None:
    file_for(greys, 7, "person-7")
    path, params = greys.batch("b1").forget, _params(greys)
    content = path.read_bytes()
    stage.run("deletion_requests", params, greys.batch("b7"), silent)
    path.unlink()
    path.write_bytes(content[:-1])
    try:
        with pytest.raises(EvidenceError, match="b1 was forgotten under this model, and its forget manifest is not"):
            stage.run("forget_manifest", params, greys.batch("b7"), silent)
    finally:
        path.write_bytes(content)
    assert not greys.batch("b7").forget.exists()
