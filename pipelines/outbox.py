"""What MLflow did not take while it was away, said later: `python -m pipelines.outbox`, or the sensor `mlflow_outbox`.

The numbers of a training wait in `<root>/mlflow/outbox` and are sent as they are. Everything else is said anew from the
files of the batch, which are the truth. The same asset is the same MLflow run: nothing is sent as a second one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from pipelines import recording
from pipelines.dvc import DvcProject
from pipelines.graph import PROMOTION
from pipelines.line import Line
from pipelines.resources.dvc import Dvc
from pipelines.resources.mlflow import MlflowTracking
from pipelines.resources.workbench import Workbench
from pipelines.tracking import Subject, Tracking
from unlearning import digests, stages
from unlearning.errors import UnlearningError
from unlearning.evidence import lineage, promotion
from unlearning.params import Params
from unlearning.stages import BESIDE, STAGES
from unlearning.workspace import BatchFolder


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of one round."""

    said: tuple[str, ...]  # outboxes that are empty now
    waiting: tuple[str, ...]  # of assets that are not made yet, or of an MLflow that is still away


def deliver(workbench: Workbench, tracking: Tracking, dvc: DvcProject) -> Delivered:
    """One round over every outbox. It ends at the first call that MLflow does not answer."""
    tracking.again()
    said: list[str] = []
    left: list[str] = []
    for name in waiting(tracking):
        box = tracking.outbox(name)
        before = box.lines()
        if tracking.answers and _say(name, workbench, tracking, dvc) and tracking.answers:
            box.drop(before)
        (left if box.lines() else said).append(name)
    return Delivered(tuple(said), tuple(left))


def waiting(tracking: Tracking) -> list[str]:
    """The outboxes in which something waits, `<batch>.<asset>`: a version is registered before an alias names it."""
    order = {name: place for place, name in enumerate([*STAGES, *BESIDE, PROMOTION])}

    def place(name: str) -> tuple[str, int]:
        batch, _, asset = name.rpartition(".")
        return batch, order.get(asset, len(order))

    return sorted((path.stem for path in (tracking.place.home / "outbox").glob("*.jsonl")), key=place)


def _say(name: str, workbench: Workbench, tracking: Tracking, dvc: DvcProject) -> bool:
    """Say everything about one asset; False where it is not made, and its own next attempt will."""
    key, _, asset = name.rpartition(".")
    try:
        params, batch = Line().open(workbench, key)
        tags = _tags(tracking.outbox(name).lines())
        if asset == PROMOTION:
            _say_promotion(tracking, params, batch, tags)
            return True
        if asset not in {**STAGES, **BESIDE}:
            return False
        stage = stages.named(asset)
        record = lineage.current(stage, params, batch)
        if record is None:
            return False
        run = tracking.open(recording.subject(stage, params, batch), tags)
        recording.inputs(run, stage, params, batch, dvc)
        recording.outputs(run, record, params, batch)
        run.close("FINISHED")
    except UnlearningError:
        return False
    return run.id is not None


def _say_promotion(tracking: Tracking, params: Params, batch: BatchFolder, tags: dict[str, str]) -> None:
    now = promotion.champion(batch.workspace, params.model.name)
    if now is not None and now.batch == batch.key:
        recording.promoted(tracking, params, batch, now, tags)
        return
    # Another is served by now: that this one was, once, stays to be told; the aliases are the other's.
    subject = Subject(params.model.name, PROMOTION, batch.key, digests.of_file(batch.certificate))
    tracking.open(subject, tags).close("FINISHED")


def _tags(lines: Sequence[str]) -> dict[str, str]:
    """Dagster's run and partition, as the attempt would have told them."""
    opened = [call["arguments"]["subject"] for line in lines if (call := json.loads(line))["call"] == "open"]
    return {name: value for name, value in (opened[-1] if opened else {}).items() if name.startswith("dagster.")}


def main() -> int:
    """One round, in words. 0: nothing waits any more; 2: something does."""
    workbench = Workbench()
    tracking = MlflowTracking().connect(workbench.workspace.root, lambda line: _tell(sys.stderr, line))
    done = deliver(workbench, tracking, Dvc().open())
    _tell(sys.stdout, f"{len(done.said)} outboxes delivered, {len(done.waiting)} wait")
    for name in done.waiting:
        _tell(sys.stdout, f"  waits: {name}")
    return 2 if done.waiting else 0


def _tell(out: TextIO, line: str) -> None:
    out.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
