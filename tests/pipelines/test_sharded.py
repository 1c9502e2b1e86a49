"""Shards through the whole graph: an exact deletion is certified as one, is served, and the next one starts from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests import toy_batch, toys
from tests.pipelines.greys import root_of_greys
from tests.pipelines.line import OVERRIDES, Line, checks, errors, materialized
from tests.pipelines.same_process import SameProcess
from unlearning import files
from unlearning.evidence import promotion, verification
from unlearning.log import silent
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.training import checkpoint
from unlearning.verbs import train, unlearn

SHARDED: dict[str, Any] = {
    # By this seed the first person's pictures lie in the last slice of their shard.
    "generator": {"kind": "sharded", "of": {"kind": "mae", **toys.SMALL_MAE}, "shards": 2, "slices": 2, "seed": 1},
    "original": {"steps": 100, "batch_size": 8, "warmup_steps": 5, "learning_rate": 1e-2},
    "unlearn.method": {"kind": "sisa"},
    "evaluate.bootstrap": 100,
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
    # So few pictures are kept well or badly by chance; how exact a deletion is does not depend on it.
    "gates.retention_at_least.value": -1.0,
    "report.pictures": 2,
}


@pytest.fixture
def greys(repository: Path, tmp_path: Path, empty_database: Path) -> Iterator[Line]:
    root_of_greys(tmp_path, empty_database)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Line(tmp_path, repository / "params.yaml", instance)


def test_an_exact_deletion_from_request_to_promotion(greys: Line) -> None:
    """The reference is at distance 0, the certificate says so, and the next batch starts from what is served now."""
    _file_for(greys, 1, "person-6")
    done = greys.run("b1", compute=SameProcess(), **SHARDED)
    assert materialized(done).keys() == {*STAGES, "model_promotion"}, errors(done)
    assert all(check.passed for check in checks(done).values()), checks(done)
    batch = greys.batch("b1")
    said = files.read_json(batch.certificate)
    assert (said["status"], said["claim_level"], said["exactness"]["replay"]) == ("issued", "C2", "bit-equal")
    assert verification.verify(batch.path).mismatches == ()
    (distance,) = (row for row in said["criteria"] if row["name"] == "reference_distance")
    assert (distance["status"], distance["value"]) == ("pass", 0.0)
    served = promotion.champion(greys.workspace, greys.read_params().model.name)
    assert served is not None
    assert served.version == 1

    _file_for(greys, 2, "person-2")
    params, second = Params.read(greys.params, {**OVERRIDES, **SHARDED}), greys.batch("b2")
    toy_batch.manifests(params, second)
    made = {role: train.run(params, second, silent, role) for role in ("reference", "original")}
    assert made["original"].facts["source"] == "champion"
    unlearned = unlearn.run(params, second, silent)
    weights = {
        role: checkpoint.weights_sha256(second.asset(f"{role}_checkpoint")) for role in ("reference", "unlearned")
    }
    assert weights["reference"] == weights["unlearned"]
    assert len(unlearned.facts["shards"]["copied"]) == 1


def _file_for(line: Line, number: int, person: str) -> None:
    wanted = {"goal": "never_seen", "selectors": [{"subject": person}]}
    toy_batch.file_requests(line.workspace, toy_batch.request_body(request_id=toy_batch.request_id(number), **wanted))
