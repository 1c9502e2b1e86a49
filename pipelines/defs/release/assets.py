"""The certificate, issued for a refusal too, and the promotion, which believes nothing it can recompute."""

from typing import Any

import dagster as dg

from pipelines import registry
from pipelines.making import OWNERS, opened, refusals, stage_asset
from pipelines.partitions import deletion_batch
from pipelines.registry import Registered
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.tracking import Subject
from unlearning.evidence import promotion
from unlearning.verbs import promote

certificate = stage_asset(
    "certificate",
    group="release",
    kinds={"json"},
    description="What was run, on which bytes, with which result; claim level C1 or C2, or `refused`. Check it offline "
    "with `unlearning verify`.",
    pool="ledger",
)


@dg.asset(
    deps=["certificate"],
    partitions_def=deletion_batch,
    group_name="release",
    kinds={"mlflow"},
    owners=OWNERS,
    pool="ledger",
)
def model_promotion(
    context: dg.AssetExecutionContext, workbench: Workbench, mlflow: MlflowTracking
) -> dg.MaterializeResult[Any]:
    """Serve the unlearned checkpoint: verify everything again, compare-and-set the champion, move MLflow's aliases."""
    params, batch = opened(workbench, context.partition_key)
    with refusals():
        done = promote.run(params, batch)
    now = done.champion
    tracking = mlflow.connect(batch.workspace.root, context.log.warning)
    subject = Subject(params.model.name, "model_promotion", batch.key, str(now.certificate_sha256))
    run = tracking.open(subject, {"dagster.run_id": context.run.run_id, "dagster.partition": batch.key})
    model = Registered(params.model.name, now.sha256)
    version = registry.crown(run, model, now.previous["sha256"] if now.previous else None)
    run.artifact(promotion.file(batch.workspace, params.model.name))
    run.close("FINISHED")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"sha256:{now.sha256}"),
        metadata={
            "champion": dg.MetadataValue.text(f"{params.model.name} version {now.version}"),
            "changed": dg.MetadataValue.bool(done.changed),
            "path": dg.MetadataValue.path(str(batch.workspace.root / now.checkpoint)),
            "sha256": now.sha256,
            "certificate_sha256": str(now.certificate_sha256),
            "replaces": dg.MetadataValue.json(now.previous or {}),
            "mlflow": dg.MetadataValue.url(run.link) if run.link else dg.MetadataValue.text("not reached"),
            "mlflow_version": dg.MetadataValue.text(version or "not known to MLflow"),
        },
    )
