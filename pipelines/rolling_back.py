"""The job `roll_back`: serve an earlier version again, and move MLflow's aliases to what is served then.

The verb decides and writes; what stands here can be run again, and changes nothing where it was done.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from pipelines import registry
from pipelines.graph import PROMOTION
from pipelines.making import refusals
from pipelines.registry import Registered
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.tracking import Subject
from unlearning.evidence import promotion
from unlearning.evidence.promotion import Champion
from unlearning.verbs import rollback

JOB = "roll_back"


class RollBack(dg.Config):
    """What `unlearning rollback` asks for on the command line."""

    model: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="its name, as params.yaml has it")
    to_version: int = Field(ge=0, description="a version that was served before; 0 is the base that no batch made")
    reason: str = Field(description="a code of a-z, 0-9, _ and -; it is kept for ever, so it names nobody")
    expected: int | None = Field(default=None, description="the version that is to be replaced; another one refuses")


@dg.op(out=dg.Out(dg.Nothing))
def serve_earlier_version(
    context: dg.OpExecutionContext, config: RollBack, workbench: Workbench, mlflow: MlflowTracking
) -> None:
    """A new generation that serves `to_version`; the requests of every batch it undoes are open again."""
    with refusals():
        done = rollback.run(config.model, config.to_version, workbench.workspace, config.reason, config.expected)
    now = done.champion
    version = _crowned(context, config.model, now, workbench, mlflow)
    told: dict[str, Any] = {
        "champion": f"{config.model} version {now.version}, serving version {now.rollback_of} again",
        "sha256": now.sha256,
        "changed": done.changed,
        "undone": list(done.undone),
        "pending_again": now.pending_again or 0,
        "mlflow_version": version or "not known to MLflow",
    }
    context.log_event(dg.AssetObservation(f"served_{config.model.replace('.', '_').replace('-', '_')}", metadata=told))
    context.log.info(f"{told['champion']}; {told['pending_again']} requests are open again")


def _crowned(
    context: dg.OpExecutionContext, model: str, now: Champion, workbench: Workbench, mlflow: MlflowTracking
) -> str | None:
    """The aliases, as they are after a promotion. What MLflow does not take waits in the outbox, and is said anew."""
    tracking = mlflow.connect(workbench.workspace.root, context.log.warning)
    subject = Subject(model, PROMOTION, now.batch, f"rollback-{now.version}")
    run = tracking.open(subject, {"dagster.run_id": context.run.run_id})
    before = now.previous["sha256"] if now.previous else None
    version = registry.crown(run, Registered(model, now.sha256), before)
    run.artifact(promotion.file(workbench.workspace, model))
    run.close("FINISHED")
    return version


@dg.job(name=JOB, description="Serve an earlier version again, as a new generation; what it undoes is open again.")
def roll_back() -> None:
    """See serve_earlier_version."""
    serve_earlier_version()
