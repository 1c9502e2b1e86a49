"""Batches that were served one after the other, of toy pictures and checkpoints that are only bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.toy_batch import fake_training, file_requests, manifests, request_body, request_id
from unlearning import files
from unlearning.evidence import promotion
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _asset, certify, promote
from unlearning.workspace import BatchFolder, Workspace

NAME = "digits-mae"


def promoted(params: Params, workspace: Workspace, number: int, chosen: str) -> BatchFolder:
    """Batch `b<number>`, which forgets a class and starts from what is served, promoted."""
    batch = workspace.batch(f"b{number}")
    selectors = [{"class": chosen, "approved_by": "privacy-officer"}]
    file_requests(workspace, request_body(request_id=request_id(number), selectors=selectors))
    manifests(params, batch)
    fake_training(params, batch, forgetting=0.95 + number / 100)
    now = promotion.champion(workspace, NAME)
    if now is not None:
        _start_from(params, batch, workspace.root / now.checkpoint)
    certify.run(params, batch, silent)
    promote.run(params, batch)
    return batch


def _start_from(params: Params, batch: BatchFolder, served: Path) -> None:
    """The toy trains no original: take the served one, and report on it."""

    def original(folder: Path, key: str) -> dict[str, Any]:
        shutil.copyfile(served / "model.safetensors", folder / "model.safetensors")
        return {"source": "champion"}

    report = files.read_json(batch.report)
    batch.lineage("original_checkpoint").unlink()
    record = _asset.make("original_checkpoint", params, batch, silent, original)
    for name in ("unlearned_checkpoint", "evaluation_report"):
        lines = json.loads(batch.lineage(name).read_bytes())
        lines["inputs"]["original_checkpoint"] = record.sha256
        files.write_json(batch.lineage(name), lines)
    report["checkpoints"]["original"] = record.sha256
    report["weights"]["original"] = record.outputs[0].sha256

    def written(folder: Path, key: str) -> dict[str, Any]:
        files.write_json(folder / "report.json", report)
        return {}

    batch.lineage("evaluation_report").unlink()
    _asset.make("evaluation_report", params, batch, silent, written)
