"""How Dagster makes one asset of a batch: reuse, launch or call the verb, tell MLflow and DVC, return the evidence.

Dagster reads the annotations of its functions as types, so no file that holds one postpones their evaluation.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from pipelines import evidence, metadata, openlineage, recording, signing
from pipelines.automation import alive
from pipelines.line import Line
from pipelines.resources.compute import Compute, Job
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.tracking import Run
from unlearning import stages
from unlearning.errors import StorageError, UnlearningError
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.log import Bars, Progress
from unlearning.params import Params
from unlearning.stages import STAGES, Stage
from unlearning.verbs import request
from unlearning.verbs import stage as verbs
from unlearning.workspace import BatchFolder

OWNERS = ["team:privacy"]


REFUSED = "refused"  # metadata of a failure that would come again: an input, a rule or a gate said no


def stage_asset(line: Line, name: str, group: str, kinds: set[str], description: str) -> dg.AssetsDefinition:
    """The asset of one stage of a line. Its arrows are those of unlearning/stages.py."""
    stage = stages.named(name)

    @dg.asset(
        name=name,
        key_prefix=line.prefix or None,
        deps=[line.key(source) for source in stage.inputs],
        partitions_def=line.partitions,
        group_name=line.called(group),
        kinds=kinds,
        owners=OWNERS,
        description=description,
        pool=line.pool if stage.trains else None,
        tags={"unlearning/verb": "-".join(stage.verb), **line.tags},
        # What takes seconds goes first: a request that matches nothing must not cost hours of training.
        op_tags={"dagster/priority": "0" if stage.trains else "10"},
        # For a signal or a full memory: the attempt after it finds the saved state and goes on. A refusal allows none.
        retry_policy=dg.RetryPolicy(line.crash_retries, line.crash_delay_s) if stage.trains else None,
        freshness_policy=line.freshness if name == "certificate" else None,
    )
    def make(
        context: dg.AssetExecutionContext, workbench: Workbench, compute: Compute, mlflow: MlflowTracking, dvc: Dvc
    ) -> dg.MaterializeResult[Any]:
        with refusals(), _cancelling(context):
            return _Making(context, line, stage, workbench, compute, mlflow, dvc).result()

    return make


@contextmanager
def refusals() -> Iterator[None]:
    """A refused input ends the step with its own sentence, and is not tried again: it would be refused again.

    A full disk is no refusal of anybody's request: that step may be tried again.
    """
    try:
        yield
    except StorageError as error:
        raise dg.Failure(str(error)) from error
    except UnlearningError as error:
        raise dg.Failure(str(error), metadata={REFUSED: True}, allow_retries=False) from error


@contextmanager
def _cancelling(context: dg.AssetExecutionContext) -> Iterator[None]:
    """A run that somebody cancelled ends here. Dagster hands every interrupt to the step's retry policy, even that one.

    Any other interrupt (a preempted machine) is left to the policy: the attempt after it resumes.
    """
    try:
        yield
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as error:
        run = context.instance.get_run_by_id(context.run.run_id)
        if run is None or run.status is not dg.DagsterRunStatus.CANCELING:
            raise
        said = "the run was cancelled; what is saved stays, and the next run of this batch resumes from it"
        raise dg.Failure(said, allow_retries=False) from error


class _Making:
    """One asset, one batch, one attempt."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        line: Line,
        stage: Stage,
        workbench: Workbench,
        compute: Compute,
        mlflow: MlflowTracking,
        dvc: Dvc,
    ) -> None:
        self.context, self.line, self.stage, self.compute, self.dvc = context, line, stage, compute, dvc
        self.params, self.batch = line.open(workbench, context.partition_key)
        self.launch = line.launch(workbench, context.partition_key)
        self.beat = alive.beating(workbench.workspace, context.run.run_id)
        self.tracking = mlflow.connect(workbench.workspace.root, context.log.warning)

    def result(self) -> dg.MaterializeResult[Any]:
        """Make it or find it, and say so everywhere."""
        stage, params, batch = self.stage, self.params, self.batch
        subject = recording.subject(stage, params, batch)
        run = self.tracking.open(subject, self._tags())
        before = lineage.current(stage, params, batch)
        telling = openlineage.telling(stage, params, batch, self.context.run.run_id, self.context.log.warning)
        with _ending(run), telling as lines:
            if not run.finished:
                recording.inputs(run, stage, params, batch, self.dvc.open())
            record = before if before is not None and stage.trains else self._make(run)
            request.follow(stage.name, batch)
            lines.made(record, before is not None)
            if not run.finished:
                recording.outputs(run, record, params, batch)
        self.context.log.info(f"{stage.name} {'reused' if before is not None else 'made'}: {record.sha256}")
        upstream = evidence.upstream(self.context.instance, batch.key, stage.inputs, self.line.prefix)
        return metadata.materialized(record, batch, upstream, self._extra(run, record, before is not None))

    def _make(self, run: Run) -> Record:
        if not self.stage.trains:
            return verbs.run(self.stage.name, self.params, self.batch, self._log())
        env = {}
        if run.id is not None and self.tracking.answers and not self.tracking.place.local:
            env = {"MLFLOW_RUN_ID": run.id, "MLFLOW_TRACKING_URI": self.tracking.place.uri}
        # A server takes the child's numbers from the child. SQLite has one writer, this process, which has MLflow
        # imported already: the child leaves its numbers in the outbox, and they are delivered while it runs.
        root = self.batch.workspace.root

        def beat() -> None:
            self.beat()
            run.deliver()

        job = Job(self.stage.name, self.batch.key, root, self.launch.params, self.launch.overrides, env, beat)
        self._launcher().launch(self.context, job)
        return lineage.read(self.batch, self.stage.name)

    def _launcher(self) -> Compute:
        """This launch's compute: a line may ask for more processes than the settings give."""
        gpus = self.line.gpus
        return self.compute if gpus is None else self.compute.model_copy(update={"processes": gpus})

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
        launch = self.launch
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
        signed = signing.metadata(self.batch) if name == "certificate" else {}
        return {**extra, **signed, **_pictures(self.batch, record)}

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


def opened(line: Line, workbench: Workbench, batch: str) -> tuple[Params, BatchFolder]:
    """Parameters and folder of a batch, for steps that are no stage. Raises dg.Failure with the sentence."""
    with refusals():
        return line.open(workbench, batch)
