"""Checkpoints that are only bytes, where a batch starts from the one that is served: an operation without models."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.resources.compute import Job
from tests.pipelines.line import ToyCompute
from unlearning.evidence import promotion
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _asset
from unlearning.workspace import Workspace


class SoakedToys(ToyCompute):
    """As ToyCompute, but for the original: the champion, where there is one."""

    def launch(self, context: dg.AssetExecutionContext, job: Job) -> None:
        """Make the asset in this process."""
        params, workspace = Params.read(job.params, job.overrides), Workspace(job.root)
        now = promotion.champion(workspace, params.model.name)
        if job.stage != "original_checkpoint" or now is None:
            super().launch(context, job)
            return

        def fill(folder: Path, key: str) -> dict[str, Any]:
            shutil.copytree(workspace.root / now.checkpoint, folder, dirs_exist_ok=True)
            return {"source": "champion", "version": now.version, "champion_sha256": now.sha256}

        _asset.make(job.stage, params, workspace.batch(job.batch), silent, fill)
