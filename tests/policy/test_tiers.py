"""What the tiers do, verb by verb: a retraining is the reference's bits, and suppression unlearns nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import toy_batch, toys
from unlearning import files
from unlearning.errors import ManifestError, PolicyError
from unlearning.log import silent
from unlearning.params import Params
from unlearning.requests.ledger import Ledger
from unlearning.training import checkpoint
from unlearning.verbs import plan, train, unlearn
from unlearning.workspace import BatchFolder

SMALL: dict[str, Any] = {
    "generator": {"kind": "mae", **toys.SMALL_MAE},
    "original.steps": 4,
    "original.batch_size": 8,
    "unlearn.budget.steps": 4,
    "unlearn.budget.batch_size": 8,
}
RETRAIN = {"policy.rules": [{"then": "retrain", "because": "nothing cheaper may be promised"}]}
SUPPRESS = {"policy.rules": [{"then": "suppress", "because": "no time is left to train"}]}


@pytest.fixture
def batch(tmp_path: Path, repository: Path) -> BatchFolder:
    workspace = toy_batch.toy_workspace(tmp_path)
    toy_batch.file_requests(workspace, toy_batch.request_body())
    made = workspace.batch("b1")
    toy_batch.manifests(_params(repository), made)
    return made


def _params(repository: Path, **more: Any) -> Params:
    return toy_batch.toy_params(repository, **{**SMALL, **more})


def test_a_retraining_is_the_reference_bit_for_bit_trained_here_or_taken_from_it(
    batch: BatchFolder, repository: Path
) -> None:
    params = _params(repository, **RETRAIN)
    plan.run(params, batch, silent)
    train.run(params, batch, silent, "original")
    trained = unlearn.run(params, batch, silent)
    assert (trained.facts["trained_as"], trained.facts["method"]) == ("unlearned_checkpoint", {"kind": "retrain"})
    train.run(params, batch, silent, "reference")
    assert checkpoint.weights_sha256(batch.unlearned) == checkpoint.weights_sha256(batch.reference)
    assert checkpoint.weights_sha256(batch.unlearned) != checkpoint.weights_sha256(batch.original)

    batch.lineage("unlearned_checkpoint").unlink()
    taken = unlearn.run(params, batch, silent)
    assert taken.facts["trained_as"] == "reference_checkpoint"
    # All but the trace, which says of which run it is: the reference's.
    here, there = (
        {file.path: file.sha256 for file in record.outputs if not file.path.startswith("trace.")}
        for record in (taken, trained)
    )
    assert here == there
    assert {file.path for file in taken.outputs} - set(here) == {"trace.json", "trace.rows"}


def test_nothing_is_unlearned_where_the_plan_is_to_suppress(batch: BatchFolder, repository: Path) -> None:
    params = _params(repository, **SUPPRESS)
    plan.run(params, batch, silent)
    train.run(params, batch, silent, "original")
    before = toy_batch.snapshot(batch.workspace.root)
    said = "unlearns nothing now .suppress by rule 1 .*requests stay open, and a retraining is due"
    with pytest.raises(PolicyError, match=said):
        unlearn.run(params, batch, silent)
    assert toy_batch.snapshot(batch.workspace.root) == before
    assert [entry.state for entry in Ledger(batch.workspace.ledger).entries("b1")] == ["scheduled"]


def test_a_plan_of_other_parameters_is_not_carried_out(batch: BatchFolder, repository: Path) -> None:
    before = toy_batch.snapshot(batch.workspace.root)
    with pytest.raises(ManifestError, match=r"deletion_plan was made under other parameters than these; run"):
        unlearn.run(_params(repository, **RETRAIN), batch, silent)
    assert toy_batch.snapshot(batch.workspace.root) == before


def test_a_policy_without_an_admissible_way_leaves_no_trace(batch: BatchFolder, repository: Path) -> None:
    never = {"policy.rules": [{"when": {"images_at_most": 0}, "then": "approximate", "because": "never applies"}]}
    before = toy_batch.snapshot(batch.workspace.root)
    with pytest.raises(PolicyError, match="rule 1, approximate: training images to forget: 8, at most 0 is asked"):
        plan.run(_params(repository, **never), batch, silent)
    assert toy_batch.snapshot(batch.workspace.root) == before
    assert files.read_json(batch.asset("deletion_plan") / "plan.json")["tier"] == "approximate"
