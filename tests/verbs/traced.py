"""Batches that were really trained, for a few steps, and certified: with a trace in every checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import toy_batch, toys
from unlearning import digests, files
from unlearning.evidence import lineage
from unlearning.log import silent
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import _asset, certify, plan, train, unlearn
from unlearning.workspace import BatchFolder

SMALL: dict[str, Any] = {
    "generator": {"kind": "mae", **toys.SMALL_MAE},
    "data.flip": True,
    "original": {"steps": 5, "batch_size": 4, "learning_rate": 3e-3, "save_every": 2, "log_every": 1},
    "unlearn.budget": {"steps": 6, "batch_size": 4, "learning_rate": 3e-3, "save_every": 4, "log_every": 2},
    "trace": {"keep": 2},
}


def certified(home: Path, repository: Path, **changes: Any) -> tuple[Params, BatchFolder]:
    """A whole batch. Its report has the scores of a toy: what is tested is how its checkpoints were trained."""
    params, workspace = toy_batch.toy_params(repository, **{**SMALL, **changes}), toy_batch.toy_workspace(home)
    batch = workspace.batch("b1")
    toy_batch.file_requests(workspace, toy_batch.request_body())
    toy_batch.manifests(params, batch)
    plan.run(params, batch, silent)
    for role in ("original", "reference"):
        train.run(params, batch, silent, role)
    unlearn.run(params, batch, silent)
    report(params, batch)
    certify.run(params, batch, silent)
    return params, batch


def report(params: Params, batch: BatchFolder) -> None:
    """evaluation_report, about the weights that lie there."""

    def fill(folder: Path, key: str) -> dict[str, Any]:
        weights = {name: checkpoint.weights_sha256(batch.asset(f"{name}_checkpoint")) for name in _ROLES}
        files.write_json(folder / "report.json", {**toy_batch.toy_report(params, batch, 0.95), "weights": weights})
        return {}

    _asset.make("evaluation_report", params, batch, silent, fill)


def recorded_anew(batch: BatchFolder, asset: str) -> None:
    """The lineage record of an asset says what lies there now, as somebody who may write everything would make it."""
    tree = files.read_json(batch.lineage(asset))
    outputs = digests.of_folder(batch.asset(asset))
    listed = [{"path": file.path, "sha256": file.sha256, "bytes": file.bytes} for file in outputs]
    files.write_json(batch.lineage(asset), {**tree, "outputs": listed, "sha256": digests.of_listing(outputs)})
    assert lineage.read(batch, asset).outputs == outputs


_ROLES = ("original", "reference", "unlearned")
