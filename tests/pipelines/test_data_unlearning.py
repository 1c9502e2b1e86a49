"""Every way of data unlearning through the whole graph: a request in, a checkpoint that moved, a certificate out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from tests import toys
from tests.pipelines.line import OVERRIDES, Line, errors, materialized
from tests.pipelines.same_process import SameProcess
from tests.toy_batch import file_requests, request_body, snapshot, toy_workspace
from unlearning import files
from unlearning.data import manifest
from unlearning.data.images import ImageSet
from unlearning.errors import ParamsError
from unlearning.evidence import lineage, verification
from unlearning.log import silent
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.training import checkpoint
from unlearning.verbs import stage

_BUDGET = {"steps": 4, "batch_size": 4, "warmup_steps": 0, "learning_rate": 1e-3}
DDPM: dict[str, Any] = {
    "generator": {"kind": "ddpm", **toys.SMALLEST["ddpm"]},
    "corruption": {"kind": "everything"},
    "original": {**_BUDGET, "snapshots": 2},
    "unlearn.budget": {**_BUDGET, "weight_decay": 0.0},
    "unlearn.scope": {"kind": "all"},
    "unlearn.merge": {"kind": "weighted_sum", "forget_weight": 1.0},
    "evaluate.corruption": {"kind": "center_hole"},
    "evaluate.bootstrap": 100,
    "evaluate.seeds": [0],
    "evaluate.metrics": [{"kind": "mse"}],
    "evaluate.siblings": [],
    "report.pictures": 2,
}
SPREAD = {"kind": "anchored_ascent", "anchor": "spread"}
WAYS: dict[str, dict[str, Any]] = {
    "spread": {"unlearn.method": SPREAD, "unlearn.stop": {"every": 2, "images": 4, "retain_rise_at_most": 1e6}},
    "amnesia": {"unlearn.method": {"kind": "selective_amnesia", **toys.QUICK["selective_amnesia"]}},
    "two_levels": {
        "unlearn.method": {"kind": "erasediff", "inner_steps": 2, "low_pass": 0.5},
        "unlearn.merge": {"kind": "dynamic_barrier", "epsilon": 0.0},
    },
    "adapters": {
        "unlearn.method": {"kind": "siss", "low_pass": 0.7},
        "unlearn.merge": {"kind": "clipped_forget"},
        "unlearn.scope": {"kind": "adapters", "rank": 1},
    },
}
FISHER = {"unlearn.method": {"kind": "anchored_ascent", "anchor": "fisher", "drawn": 2}}
TO_THE_ORIGINAL = list(STAGES)[: list(STAGES).index("unlearned_checkpoint")]


@pytest.fixture(scope="module")
def line(repository: Path, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Line]:
    """One batch whose original and reference are made once; each way makes what comes after them anew."""
    home = tmp_path_factory.mktemp("ways")
    workspace = toy_workspace(home)
    (workspace.root / "mlflow").mkdir()
    (workspace.root / "mlflow" / "mlflow.db").write_bytes(empty_database.read_bytes())
    file_requests(workspace, request_body())
    with dg.DagsterInstance.ephemeral() as instance:
        yield Line(home, repository / "params.yaml", instance)


def _params(line: Line, **chosen: Any) -> Params:
    return Params.read(line.params, {**OVERRIDES, **DDPM, **chosen})


@pytest.mark.parametrize("way", WAYS)
def test_a_request_becomes_a_checkpoint_that_moved_and_a_certificate(way: str, line: Line) -> None:
    done = line.run("b1", compute=SameProcess(), **{**DDPM, **WAYS[way]})
    assert materialized(done).keys() == set(STAGES), errors(done)
    batch = line.batch("b1")
    assert verification.verify(batch.path).mismatches == ()
    report = files.read_json(batch.report)
    found = {role: numbers["mse"] for role, numbers in report["sets"]["forget"]["metrics"].items()}
    assert found["unlearned"] != found["original"]
    assert report["finite"]

    original, unlearned = (checkpoint.load(folder).state_dict() for folder in (batch.original, batch.unlearned))
    assert list(original) == list(unlearned)
    changes = [
        unlearned[name] - original[name] for name in original if not torch.equal(original[name], unlearned[name])
    ]
    assert changes
    if way == "adapters":
        ranks = {int(torch.linalg.matrix_rank(change.flatten(1), rtol=1e-3)) for change in changes}
        assert ranks == {1}
    if way == "spread":
        facts = lineage.read(batch, "unlearned_checkpoint").facts
        assert (facts["stopped_at"], facts["steps"]) == (4, 4)
        assert "were within bounds" in facts["why_stopped"]


def test_without_a_rule_to_stop_no_retain_image_is_read(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.run("b1", compute=SameProcess(), only=TO_THE_ORIGINAL, **DDPM)
    batch, keys, read = line.batch("b1"), set[str](), ImageSet.__call__

    def watched(images: Any, rows: torch.Tensor) -> torch.Tensor:
        keys.update(images.table["key"][int(row)].as_py() for row in rows)
        return read(images, rows)

    batch.lineage("unlearned_checkpoint").unlink(missing_ok=True)
    monkeypatch.setattr(ImageSet, "__call__", watched)
    for name in ("deletion_plan", "unlearned_checkpoint"):
        stage.run(name, _params(line, **FISHER), batch, silent)
    forget = set(_keys(batch.forget))
    assert keys
    assert keys <= forget
    assert not keys & set(_keys(batch.retain))


def _keys(path: Path) -> list[str]:
    keys: list[str] = manifest.read(path)["key"].to_pylist()
    return keys


def test_a_spread_of_an_original_that_kept_none_is_refused_and_nothing_is_made(line: Line) -> None:
    chosen = {"original": _BUDGET, "unlearn.method": SPREAD}
    line.run("b1", compute=SameProcess(), only=TO_THE_ORIGINAL, **{**DDPM, **chosen})
    before = snapshot(line.workspace.root)
    with pytest.raises(ParamsError, match="this original has no snapshots"):
        stage.run("unlearned_checkpoint", _params(line, **chosen), line.batch("b1"), silent)
    assert snapshot(line.workspace.root) == before
