"""The training loop: the original, the reference and the unlearned model all pass through here.

It knows no method, no generator family and no data set by name. To resume, run the same call again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from unlearning.log import Log, Progress
from unlearning.training.gradients import Losses
from unlearning.training.journal import Journal
from unlearning.training.parallel import World
from unlearning.training.run import Run, Trained
from unlearning.training.savepoint import Savepoints
from unlearning.training.schedule import learning_rate
from unlearning.training.snapshots import Snapshots
from unlearning.training.step import Step, refuse_not_finite
from unlearning.training.stopping import Watch
from unlearning.training.trace import Recorder


class Resumed(Protocol):
    """A part of a run that changes from step to step."""

    def remember(self, values: dict[str, Tensor]) -> None:
        """Put what it saved back; it finds its own among all of a state."""
        ...


def train(run: Run, world: World, work: Path, log: Log) -> Trained:
    """Train `run.student` in place. Resumable state and log.jsonl lie in `work`, written by rank 0.

    Raises CheckpointError naming the step where a loss or gradient is not finite, or for a state of another recipe.
    """
    began, budget = time.monotonic(), run.budget
    step, savepoints, journal = Step(run, world), Savepoints(work, run.recipe), Journal(work / "log.jsonl")
    snapshots, watch = Snapshots(run.student, budget), Watch(run.stopping, run.student, run.corruption, budget, world)
    trace = Recorder(run, step, world)
    start = _resume(run, (step, snapshots, watch, trace), savepoints, world, journal, log)

    for number in range(start, start if watch.ended else budget.steps):
        drawn = run.batches(number)
        losses, norm = step(drawn, number)
        done = number + 1
        trace.take(done, drawn, losses, norm)
        if world.leads:
            snapshots.look(done)
        rises = watch.look(done)
        last = done == budget.steps or watch.ended
        if done % budget.log_every == 0 or last or rises:
            numbers = {**_numbers(run, world, losses, norm, number), **rises}
            refuse_not_finite(run.stage, done, numbers)
            if world.leads:
                savepoints.hold()
                journal.append(done, numbers)
                speed = (done - start) * _images(run) / (time.monotonic() - began)
                log(Progress(run.stage, done, budget.steps, {**numbers, "images_per_second": speed}))
        if world.leads and (done in run.edges or (trace.keeps(done) and not last)):
            savepoints.keep(done, step.memory())
        if done % budget.save_every == 0 or last:
            trace.settle()
            if world.leads:
                savepoints.save(done, {**step.memory(), **snapshots.memory(), **watch.memory(), **trace.memory()})
        if watch.ended:
            break

    world.wait()  # nobody leaves, and takes the group down, before rank 0 has written the last state
    run.student.eval()
    run.scope.fold(run.student)
    if world.leads and watch.facts:
        log(Progress(run.stage, budget.steps, budget.steps, note=f"stopped: {watch.facts['why_stopped']}"))
    steps, seconds = watch.facts.get("stopped_at", budget.steps), time.monotonic() - began
    last_numbers, traces = dict(_last(journal, world)), trace.parts(savepoints)
    return Trained(steps, start, seconds, last_numbers, snapshots.memory(), watch.facts, traces)


def _resume(
    run: Run, parts: tuple[Resumed, ...], savepoints: Savepoints, world: World, journal: Journal, log: Log
) -> int:
    """The step to go on from, with every rank's student and optimizer as they were there."""
    found = savepoints.newest()
    start = 0
    if found is not None:
        start, values = found
        for part in parts:
            part.remember(values)
    world.wait()  # nobody writes before everybody has read
    if world.leads:
        savepoints.claim()
        journal.cut(start)
        if start:
            log(Progress(run.stage, start, run.budget.steps, note=f"resumed after step {start} of {run.budget.steps}"))
    return start


def _numbers(run: Run, world: World, losses: Losses, norm: float, number: int) -> dict[str, float]:
    """Of one step, over all ranks."""
    means = zip(losses, map(float, world.mean(list(losses.values()))), strict=True)
    return {**dict(means), "gradient_norm": norm, "learning_rate": learning_rate(run.budget, number)}


def _images(run: Run) -> int:
    """Images a step reads, over all processes."""
    return run.budget.batch_size * (run.method.uses_forget + run.method.reads_retain)


def _last(journal: Journal, world: World) -> Mapping[str, float]:
    return journal.last() if world.leads else {}
