"""The whole asset graph over toy batches: real verbs, real gates, and a launcher whose checkpoints are only bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.definitions import defs
from pipelines.partitions import open_batch
from pipelines.resources.compute import Compute, Job
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from tests.toy_batch import TOYS, toy_report
from unlearning import digests, files
from unlearning.errors import DataError
from unlearning.log import silent
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.verbs import _asset
from unlearning.workspace import BatchFolder, Workspace

OVERRIDES = TOYS
ROLES = ("original", "reference", "unlearned")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class ToyCompute(Compute):
    """Checkpoints that are only bytes, and a report with the scores a test wants; no process, no torch."""

    forgetting: float = 0.95
    refuses: str = ""

    def launch(self, context: dg.AssetExecutionContext, job: Job) -> None:
        if job.stage == self.refuses:
            raise DataError("shard toys-000000.tar is truncated at byte 512; fetch it again")
        params = Params.read(job.params, job.overrides)
        batch = Workspace(job.root).batch(job.batch)

        def fill(folder: Path, key: str) -> dict[str, Any]:
            if job.stage == "evaluation_report":
                weights = {
                    role: digests.of_file(batch.asset(f"{role}_checkpoint") / "model.safetensors") for role in ROLES
                }
                report = {**toy_report(params, batch, self.forgetting), "weights": weights}
                files.write_json(folder / "report.json", report)
                return {"verdict": "toy", "scores": {"forgetting": self.forgetting}}
            whose = "every batch" if job.stage == "original_checkpoint" else job.batch
            (folder / "model.safetensors").write_bytes(f"{job.stage} of {whose}, {self.forgetting}".encode())
            files.write_json(folder / "checkpoint.json", {"schema": "checkpoint/1"})
            return {"steps": 3}

        _asset.make(job.stage, params, batch, silent, fill)


@dataclass(frozen=True)
class Line:
    """One root, one Dagster instance, and how to run a batch through."""

    home: Path
    params: Path
    instance: dg.DagsterInstance

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.home / "var")

    def batch(self, key: str) -> BatchFolder:
        return self.workspace.batch(key)

    def read_params(self) -> Params:
        return Params.read(self.params, OVERRIDES)

    def run(
        self,
        key: str,
        only: list[str] | None = None,
        compute: Compute | None = None,
        mlflow: MlflowTracking | None = None,
        **overrides: Any,
    ) -> dg.ExecuteInProcessResult:
        """Materialise the graph, or some of it, for one batch."""
        open_batch(self.instance, key)
        resources = {
            "workbench": Workbench(
                root=str(self.workspace.root), params=str(self.params), overrides={**OVERRIDES, **overrides}
            ),
            "compute": compute or ToyCompute(),
            "mlflow": mlflow or MlflowTracking(),
            "dvc": Dvc(project=str(self.home)),
        }
        loaded = defs()
        graph = dg.Definitions(
            assets=loaded.assets,
            asset_checks=loaded.asset_checks,
            resources=resources,
            executor=dg.in_process_executor,
        )
        job = graph.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            partition_key=key,
            run_config=QUIET,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in only or [*STAGES, "model_promotion"]],
        )


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    """What a run made, by name."""
    return {
        event.asset_key.to_user_string(): event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """What its checks said, by name."""
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def errors(result: dg.ExecuteInProcessResult) -> str:
    """Everything that broke, as Dagster shows it."""
    return "\n".join(
        str(event.step_failure_data.error_display_string) for event in result.all_events if event.is_step_failure
    )


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The sentence of every step that failed by refusing."""
    found = {}
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None:
            found[str(event.step_key)] = str(event.step_failure_data.user_failure_data.description)
    return found
