"""The job `purge` of a line, and when it is due: what a promoted batch forgot leaves every place.

The verb clears what lies under the root. Here stand the two places that only the orchestrator reaches: MLflow, and a
DVC remote that is no folder. Everything can be run again, and finishes what was killed.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import mlflow_purge
from pipelines.automation import alive
from pipelines.line import MODEL_TAG, Line
from pipelines.making import refusals
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.tracking import Tracking
from unlearning.errors import StorageError
from unlearning.evidence import history, promotion, purge
from unlearning.evidence.purge import Location, Purged
from unlearning.log import Progress
from unlearning.params import Params
from unlearning.settings import Settings
from unlearning.verbs import _purge_job
from unlearning.verbs import purge as verb
from unlearning.verbs._purge_job import Counted, Job, Place
from unlearning.workspace import BatchFolder

JOB = "purge"
_HEAD = ("location", "method", "found", "removed", "remaining", "expires_at", "why")


def purge_job(line: Line) -> dg.JobDefinition:
    """Remove every stored copy of what one batch forgot. Not taken back by anything."""

    @dg.op(name=line.called("purge_batch"), out=dg.Out(dg.Nothing))
    def purge_batch(context: dg.OpExecutionContext, workbench: Workbench, mlflow: MlflowTracking, dvc: Dvc) -> None:
        alive.beating(workbench.workspace, context.run.run_id)  # or, after some minutes, it would count as dead
        with refusals():
            params, batch = line.open(workbench, context.partition_key)
            tracking = mlflow.connect(workbench.workspace.root, context.log.warning)
            done = verb.run(params, batch, _saying(context), outside=outside(tracking))
        kept = recommitted(dvc, batch, line.launch(workbench, batch.key).params)
        told = said(done.record, kept)
        context.log_event(dg.AssetObservation(line.key("model_promotion"), partition=batch.key, metadata=told))
        if done.record.status != "complete":
            raise dg.Failure(f"{batch.key}: {left(done.record)}", metadata=told, allow_retries=False)

    @dg.job(
        name=line.called(JOB),
        partitions_def=line.partitions,
        tags=line.tags,
        description="Remove every stored copy of what a promoted batch forgot, and the weights that knew it.",
    )
    def job() -> None:
        purge_batch()

    return job


def outside(tracking: Tracking) -> Mapping[str, Place]:
    """The places that the verb does not reach by itself."""

    def mlflow(job: Job, before: Location | None) -> Counted:
        return mlflow_purge.cleared(tracking, job, before)

    return {verb.MLFLOW: mlflow}


def recommitted(dvc: Dvc, batch: BatchFolder, params: Path) -> str:
    """Let dvc.lock say what lies there now: the data set and some assets are smaller. What came of it, in words."""
    project = dvc.open()
    why = "switched off" if not dvc.enabled else project.absence(batch.workspace.root, params)
    if why is not None:
        return f"not kept: {why}"
    try:
        with dvc.alone():
            project.commit_all(batch.workspace)
            if Settings().dvc_remote is not None:
                project.collect()
    except StorageError as error:
        return f"not kept: {error}"
    return "committed"


def due(line: Line, workbench: Workbench, now: datetime) -> list[BatchFolder]:
    """The batches of a line that may be purged now: their days of grace, or those of something kept, are over.

    None while another batch of the data set is on its way. Raises ParamsError.
    """
    params = line.read(workbench)
    if _purge_job.under_way(workbench.workspace, params.data.name):
        return []
    found = []
    for batch, promoted_at in _served(params, workbench):
        record = purge.read(batch)
        over = now >= promoted_at + timedelta(days=params.purge.after_days)
        ended = record is not None and any(datetime.fromisoformat(end) <= now for end in record.expires)
        if over and (record is None or record.status != "complete" or ended or purge.under_way(batch) is not None):
            found.append(batch)
    return found


def late(line: Line, workbench: Workbench, now: datetime) -> list[BatchFolder]:
    """The batches of a line that should be purged by now, and are not."""
    params = line.read(workbench)
    days = timedelta(days=params.purge.within_days)
    return [
        batch
        for batch, promoted_at in _served(params, workbench)
        if now >= promoted_at + days and ((record := purge.read(batch)) is None or record.status != "complete")
    ]


def asked(line: Line, workbench: Workbench, batch: BatchFolder, now: datetime) -> dg.RunRequest:
    """A run of the purge, once a day: Dagster starts one of that name once."""
    model = line.read(workbench, batch.key).model.name
    run_key = f"purge-{batch.key}-{now:%Y%m%d}"
    return dg.RunRequest(run_key=run_key, partition_key=batch.key, tags={**line.tags, MODEL_TAG: model})


def _served(params: Params, workbench: Workbench) -> list[tuple[BatchFolder, datetime]]:
    """The batches whose forgetting stands in what a line serves, and when each was promoted."""
    lines = tuple(promotion.generations(workbench.workspace, params.model.name))
    batches = [workbench.workspace.batch(key) for key in history.in_effect(lines)]
    return [(batch, at) for batch in batches if (at := _purge_job.promoted_at(lines, batch)) is not None]


def said(record: Purged, kept: str) -> dict[str, Any]:
    """What Dagster shows of it: the table, the counts, and what DVC has of it."""
    rows = [["" if (cell := getattr(one, name)) is None else str(cell) for name in _HEAD] for one in record.locations]
    lines = [" | ".join(row) for row in (_HEAD, ["---"] * len(_HEAD), *rows)]
    return {
        "status": record.status,
        "locations": dg.MetadataValue.md("\n".join(f"| {line} |" for line in lines)),
        "removed": sum(one.removed for one in record.locations),
        "remaining": sum(one.remaining for one in record.locations),
        "scanned_files": record.scan.files,
        "copies_found_afterwards": record.scan.hits,
        "dvc": kept,
    }


def left(record: Purged) -> str:
    """Why a purge is not complete."""
    open_ = [one for one in record.locations if one.remaining and one.expires_at is None]
    parts = [f"{one.remaining} in {one.location} ({one.why})" for one in open_]
    parts += [f"{record.scan.hits} copies found by the scan"] if record.scan.hits else []
    return f"partly purged, what is left: {', '.join(parts)}; `unlearning purge --scan` says where"


def _saying(context: dg.OpExecutionContext) -> Any:
    def log(line: Progress) -> None:
        if line.note:
            context.log.info(f"{line.stage}: {line.note}")

    return log
