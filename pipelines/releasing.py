"""The promotion as an asset. It believes nothing it can recompute, whatever the checks before it said."""

from typing import Any

import dagster as dg

from pipelines import openlineage, recording, signing
from pipelines.line import Line
from pipelines.making import OWNERS, opened, refusals
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from unlearning.evidence.promotion import Champion
from unlearning.verbs import promote


def promotion_asset(line: Line) -> dg.AssetsDefinition:
    """Verify everything again, compare-and-set the champion, move MLflow's aliases."""

    @dg.asset(
        name="model_promotion",
        key_prefix=line.prefix or None,
        deps=[line.key("certificate")],
        partitions_def=line.partitions,
        group_name=line.called("release"),
        kinds={"mlflow"},
        owners=OWNERS,
        tags=line.tags,
        freshness_policy=line.freshness,
        description="Serve the unlearned checkpoint: verify everything again, compare-and-set the champion, move "
        "MLflow's aliases.",
    )
    def make(
        context: dg.AssetExecutionContext, workbench: Workbench, mlflow: MlflowTracking
    ) -> dg.MaterializeResult[Any]:
        params, batch = opened(line, workbench, context.partition_key)
        with refusals():
            done = promote.run(params, batch, lambda line: context.log.info(f"{line.stage}: {line.note}"))
        tracking = mlflow.connect(batch.workspace.root, context.log.warning)
        tags = {"dagster.run_id": context.run.run_id, "dagster.partition": batch.key, **signing.facts(batch)}
        openlineage.promoted(params, batch, done.champion, context.run.run_id, context.log.warning)
        link, version = recording.promoted(tracking, params, batch, done.champion, tags)
        name, now = params.model.name, done.champion
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"sha256:{now.sha256}"),
            metadata={
                "champion": dg.MetadataValue.text(f"{name} version {now.version}"),
                "changed": dg.MetadataValue.bool(done.changed),
                "pending_requests": dg.MetadataValue.int(now.pending_requests or 0),
                "path": dg.MetadataValue.path(str(batch.workspace.root / now.checkpoint)),
                **_hashes(now),
                **signing.metadata(batch),
                "mlflow": dg.MetadataValue.url(link) if link else dg.MetadataValue.text("not reached"),
                "mlflow_version": dg.MetadataValue.text(version or "not known to MLflow"),
            },
        )

    return make


def _hashes(now: Champion) -> dict[str, Any]:
    return {
        "sha256": now.sha256,
        "certificate_sha256": str(now.certificate_sha256),
        "replaces": dg.MetadataValue.json(now.previous or {}),
    }
