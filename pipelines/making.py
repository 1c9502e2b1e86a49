"""How Dagster makes one asset of a batch: reuse, launch or call the verb, tell MLflow and DVC, return the evidence.

Dagster reads the annotations of its functions as types, so no file that holds one postpones their evaluation.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from pipelines import evidence, metadata, recording
from pipelines.partitions import deletion_batch
from pipelines.resources.compute import Compute, Job
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.tracking import Run
from unlearning import stages
from unlearning.errors import UnlearningError
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.log import Bars, Progress
from unlearning.params import Params
from unlearning.stages import STAGES, Stage
from unlearning.verbs import request
from unlearning.verbs import stage as verbs
from unlearning.workspace import BatchFolder

OWNERS = ["team:privacy"]


def stage_asset(
    name: str, group: str, kinds: set[str], description: str, pool: str | None = None
) -> dg.AssetsDefinition:
    """The asset of one stage. Its arrows are those of unlearning/stages.py."""
    stage = stages.named(name)

    @dg.asset(
        name=name,
        deps=list(stage.inputs),
        partitions_def=deletion_batch,
        group_name=group,
        kinds=kinds,
        owners=OWNERS,
        description=description,
        pool=pool,
        tags={"unlearning/verb": "-".join(stage.verb)},
        # What takes seconds goes first: a request that matches nothing must not cost hours of training.
        op_tags={"dagster/priority": "0" if stage.trains else "10"},
    )
    def make(
        context: dg.AssetExecutionContext, workbench: Workbench, compute: Compute, mlflow: MlflowTracking, dvc: Dvc
    ) -> dg.MaterializeResult[Any]:
        with refusals():
            return _Making(context, stage, workbench, compute, mlflow, dvc).result()

    return make


@contextmanager
def refusals() -> Iterator[None]:
    """A refused input ends the step with its own sentence, and is not tried again: it would be refused again."""
    try:
        yield
    except UnlearningError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


class _Making:
    """One asset, one batch, one attempt."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        stage: Stage,
        workbench: Workbench,
        compute: Compute,
        mlflow: MlflowTracking,
        dvc: Dvc,
    ) -> None:
        self.context, self.stage, self.workbench, self.compute, self.dvc = context, stage, workbench, compute, dvc
        self.params, self.batch = workbench.open(context.partition_key)
        self.tracking = mlflow.connect(workbench.workspace.root, context.log.warning)

    def result(self) -> dg.MaterializeResult[Any]:
        """Make it or find it, and say so everywhere."""
        stage, params, batch = self.stage, self.params, self.batch
        subject = recording.subject(stage, params, batch)
        run = self.tracking.open(subject, self._tags())
        before = lineage.current(stage, params, batch)
        with _ending(run):
            if not run.finished:
                recording.inputs(run, stage, params, batch, self.dvc.open())
            record = before if before is not None and stage.trains else self._make(run)
            request.follow(stage.name, batch)
            if not run.finished:
                recording.outputs(run, record, params, batch)
        self.context.log.info(f"{stage.name} {'reused' if before is not None else 'made'}: {record.sha256}")
        upstream = evidence.upstream(self.context.instance, batch.key, stage.inputs)
        return metadata.materialized(record, batch, upstream, self._extra(run, record, before is not None))

    def _make(self, run: Run) -> Record:
        if not self.stage.trains:
            return verbs.run(self.stage.name, self.params, self.batch, self._log())
        launch = self.workbench.launch(self.batch.key)
        env = {}
        if run.id is not None and self.tracking.answers and not self.tracking.place.local:
            env = {"MLFLOW_RUN_ID": run.id, "MLFLOW_TRACKING_URI": self.tracking.place.uri}
        # A server takes the child's numbers from the child. SQLite has one writer, this process, which has MLflow
        # imported already: the child leaves its numbers in the outbox, and they are delivered while it runs.
        root = self.batch.workspace.root
        job = Job(self.stage.name, self.batch.key, root, launch.params, launch.overrides, env, run.deliver)
        self.compute.launch(self.context, job)
        return lineage.read(self.batch, self.stage.name)

    def _log(self) -> Any:
        bars = Bars()

        def log(line: Progress) -> None:
            bars(line)
            if line.note:
                self.context.log.info(f"{line.stage}: {line.note}")

        return log

    def _tags(self) -> dict[str, str]:
        return {"dagster.run_id": self.context.run.run_id, "dagster.partition": self.batch.key}

    def _extra(self, run: Run, record: Record, reused: bool) -> dict[str, dg.MetadataValue[Any]]:
        launch = self.workbench.launch(self.batch.key)
        root, name = self.batch.workspace.root, self.stage.name
        source = launch.params if not launch.overrides else launch.params.with_name(f"{launch.params.name} + overrides")
        known = self.dvc.open().md5(self.batch.asset(name))
        if name not in STAGES:
            kept = "not kept: dvc.yaml has the stages of the line alone"
        elif reused and known is not None:
            kept = "kept before"  # committing again would hide from DVC that the code has changed since
        else:
            kept = self.dvc.keep(root, source, self.batch.key, [name], push=name == "certificate")
        md5 = known if reused else self.dvc.open().md5(self.batch.asset(name))
        extra: dict[str, dg.MetadataValue[Any]] = {
            "reused": dg.MetadataValue.bool(reused),
            "dvc": dg.MetadataValue.text(f"{kept}{f' (md5 {md5})' if md5 else ''}"),
            "mlflow": dg.MetadataValue.url(run.link) if run.link else dg.MetadataValue.text(self._silence()),
        }
        return {**extra, **_pictures(self.batch, record)}

    def _silence(self) -> str:
        return f"{self.tracking.skipped} calls wait in {self.tracking.place.home / 'outbox'}"


@contextmanager
def _ending(run: Run) -> Iterator[None]:
    """The MLflow run ends as the attempt does."""
    try:
        yield
    except Exception:
        run.close("FAILED")
        raise
    except BaseException:
        run.close("KILLED")
        raise
    if not run.finished:
        run.close("FINISHED")


def _pictures(batch: BatchFolder, record: Record) -> Mapping[str, dg.MetadataValue[Any]]:
    """The figures of a report, which holds forget images only where its parameters allow it."""
    figures = sorted((batch.asset(record.asset) / "figures").glob("*.png"))
    return {f"figure_{path.stem}": metadata.picture(path) for path in figures}


def opened(workbench: Workbench, batch: str) -> tuple[Params, BatchFolder]:
    """Parameters and folder of a batch, for steps that are no stage. Raises dg.Failure with the sentence."""
    with refusals():
        return workbench.open(batch)
