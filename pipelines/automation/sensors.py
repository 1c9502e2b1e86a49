"""What Dagster evaluates by itself: of each line a schedule and two sensors, and four sensors for all lines together.

Each is a thin shell over a function that can be called and killed anywhere; `default_status` is the line's `active`, or
UNLEARNING_AUTOMATION=true for all.
"""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from pipelines import graph, outbox, purging
from pipelines.automation import alarms, reaping, refusals, sealing
from pipelines.line import Line
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from unlearning.settings import Settings

INBOX_S = 30.0  # of one look into the inbox; Dagster gives up on a sensor after 60


def now() -> datetime:
    """The moment a sensor is evaluated at."""
    return datetime.now(UTC)


def weekly(line: Line) -> dg.ScheduleDefinition:
    """At each tick: seal what came before it, a batch a goal, and run each."""

    @dg.schedule(
        cron_schedule=line.cron,
        name=line.called("weekly"),
        job_name=line.called(graph.BATCH_JOB),
        execution_timezone=line.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if line.active else dg.DefaultScheduleStatus.STOPPED,
        tags=line.tags,
        description="Seals every request received before the tick, one batch a goal, and makes each batch.",
    )
    def evaluate(context: dg.ScheduleEvaluationContext, workbench: Workbench) -> list[dg.RunRequest] | dg.SkipReason:
        keys = sealing.tick(line, workbench, context.instance, context.scheduled_execution_time)
        keys += sealing.not_started(line, workbench, context.instance, now())
        return sealing.asked(line, workbench, keys) or dg.SkipReason(
            f"line {line.name}: no request received before {context.scheduled_execution_time.isoformat()} is pending"
        )

    return evaluate


def of_line(line: Line) -> list[dg.SensorDefinition]:
    """The sensors that belong to one line."""
    return [_early(line), _refused(line), _purges(line)]


def of_all_lines() -> list[dg.SensorDefinition]:
    """The sensors of which there is one."""
    return [_inbox(), _deadlines(), _dead_runs(), _mlflow_outbox()]


def _early(line: Line) -> dg.SensorDefinition:
    @dg.sensor(
        name=line.called("seal_early"),
        job_name=line.called(graph.BATCH_JOB),
        minimum_interval_seconds=300,
        default_status=_status(line.active),
        tags=line.tags,
        description="Seals without waiting for the schedule where a pending request has used up its share of the time, "
        "and starts what was sealed and never started.",
    )
    def evaluate(context: dg.SensorEvaluationContext, workbench: Workbench) -> list[dg.RunRequest] | dg.SkipReason:
        at = now()
        keys = sealing.early(line, workbench, context.instance, at)
        keys += sealing.not_started(line, workbench, context.instance, at)
        return sealing.asked(line, workbench, keys) or dg.SkipReason(f"line {line.name}: nothing presses")

    return evaluate


def _refused(line: Line) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name=line.called("refusals"),
        minimum_interval_seconds=30,
        default_status=_status(line.active),
        tags=line.tags,
        description="Writes the refusal record of a run that a gate or an input refused and moves the ledger; a run "
        "that crashed is left to its retry.",
    )
    def evaluate(context: dg.RunFailureSensorContext, workbench: Workbench) -> dg.SkipReason | None:
        run = context.dagster_run
        key = run.tags.get(sealing.PARTITION)
        if key is None or not line.has(context.instance, key):
            return dg.SkipReason(f"run {run.run_id} is not about a batch of line {line.name}")
        if run.job_name == line.called(purging.JOB):  # its batch is served: nothing of it can be refused any more
            return dg.SkipReason(f"{key}: purge {run.run_id} did not end; it is asked for again, and rings once late")
        batch, refusal = workbench.workspace.batch(key), refusals.found(context.get_step_failure_events())
        if refusal is not None:
            context.log.warning(refusals.settle(line, batch, run.run_id, refusal, now()))
            return None
        if run.tags.get("dagster/will_retry") == "true":
            return dg.SkipReason(f"{key}: run {run.run_id} crashed and is tried again")
        alarms.sound(batch.workspace, "crashed", now(), line=line.name, batch=key, run=run.run_id)
        context.log.error(f"{key}: run {run.run_id} crashed and is not tried again by itself; start it, it resumes")
        return None

    return evaluate


def _purges(line: Line) -> dg.SensorDefinition:
    @dg.sensor(
        name=line.called("purges"),
        job_name=line.called(purging.JOB),
        minimum_interval_seconds=3600,
        default_status=_status(line.active),
        tags=line.tags,
        description="Purges what a promoted batch forgot once purge.after_days are over, in which it could be rolled "
        "back; rings where that is not complete after purge.within_days.",
    )
    def evaluate(context: dg.SensorEvaluationContext, workbench: Workbench) -> dg.SensorResult:
        at, rung = now(), set((context.cursor or "").split())
        overdue = [batch for batch in purging.late(line, workbench, at) if batch.key not in rung]
        for batch in overdue:
            alarms.sound(batch.workspace, "purge_late", at, line=line.name, batch=batch.key)
            context.log.warning(f"{batch.key}: what it forgot should be purged by now, and is not")
        asked = [purging.asked(line, workbench, batch, at) for batch in purging.due(line, workbench, at)]
        cursor = " ".join(sorted(rung | {batch.key for batch in overdue}))
        if not asked:
            return dg.SensorResult(skip_reason=f"line {line.name}: nothing is to be purged", cursor=cursor)
        return dg.SensorResult(run_requests=asked, cursor=cursor)

    return evaluate


def _inbox() -> dg.SensorDefinition:
    @dg.sensor(
        name="inbox",
        minimum_interval_seconds=60,
        default_status=_status(),
        description="Takes in the request files that lie in the inbox, each once. Starts nothing: the schedule does.",
    )
    def evaluate(context: dg.SensorEvaluationContext, workbench: Workbench) -> dg.SkipReason:
        from unlearning.verbs import intake  # brings the file systems: not at definition load

        taken = intake.take_in(workbench.workspace, within_s=INBOX_S)
        for name in taken.refused:
            context.log.warning(f"{Path(name).name} was refused; the reason lies beside it")
        counts = f"{len(taken.files)} files, {taken.filed} new requests, {taken.known} known"
        return dg.SkipReason(f"{counts}, {len(taken.refused)} files refused, {taken.waiting} wait")

    return evaluate


def _deadlines() -> dg.SensorDefinition:
    @dg.sensor(
        name="deadlines",
        minimum_interval_seconds=300,
        default_status=_status(),
        description="Rings at 50, 75, 90 and 100 % of the time a request has: in the log, the ledger and alarms.jsonl.",
    )
    def evaluate(context: dg.SensorEvaluationContext, workbench: Workbench) -> dg.SkipReason:
        said = alarms.deadlines(workbench.workspace, now())
        for sentence in said:
            context.log.warning(sentence)
        return dg.SkipReason(f"{len(said)} alarms")

    return evaluate


def _dead_runs() -> dg.SensorDefinition:
    @dg.sensor(
        name="dead_runs",
        minimum_interval_seconds=60,
        default_status=_status(),
        description="Reports runs whose process is gone as failed, so that their retry resumes. For a single machine: "
        "on Kubernetes Dagster's run monitoring does it.",
    )
    def evaluate(context: dg.SensorEvaluationContext, workbench: Workbench) -> dg.SkipReason:
        reaped = reaping.reap(workbench.workspace, context.instance)
        for run_id in reaped:
            context.log.warning(f"the process of run {run_id} is gone: reported failed")
        return dg.SkipReason(f"{len(reaped)} dead runs")

    return evaluate


def _mlflow_outbox() -> dg.SensorDefinition:
    @dg.sensor(
        name="mlflow_outbox",
        minimum_interval_seconds=300,
        default_status=_status(),
        description="Tells MLflow what waited while it was away.",
    )
    def evaluate(
        context: dg.SensorEvaluationContext, workbench: Workbench, mlflow: MlflowTracking, dvc: Dvc
    ) -> dg.SkipReason:
        tracking = mlflow.connect(workbench.workspace.root, context.log.warning)
        if not outbox.waiting(tracking):
            return dg.SkipReason("nothing waits")
        done = outbox.deliver(workbench, tracking, dvc.open())
        return dg.SkipReason(f"{len(done.said)} outboxes delivered, {len(done.waiting)} wait")

    return evaluate


def _status(active: bool = False) -> dg.DefaultSensorStatus:
    on = active or Settings().automation
    return dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
