"""A part of a training run again from a state that was kept, to be compared with its trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unlearning import trace_rows
from unlearning.contracts import Generator
from unlearning.errors import CheckpointError
from unlearning.trace_rows import Row
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.step import Step
from unlearning.training.trace import Recorder


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of it: a row a step, the state after the last one, and the student, folded where that was the end."""

    rows: tuple[Row, ...]
    memory: dict[str, Tensor]
    student: Generator


def made_of(run: Run, world: World) -> dict[str, Any]:
    """What the run is a function of, as its trace begins with it; before any step of it."""
    return Recorder(run, Step(run, world), world).made_of()


def drawn(run: Run, world: World, first: int, last: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(step, forget, retain) as rows say it, of the images that each step draws; no image is read.

    Raises CheckpointError for a run whose batches cannot be asked for their rows alone.
    """
    recorder, placed = Recorder(run, Step(run, world), world), getattr(run.batches, "placed", None)
    if placed is None:
        raise CheckpointError(f"{run.stage}: its batches do not say which rows a step reads")
    for number in range(first, last):
        yield (number + 1, *recorder.batches(placed(number)))


def ran(run: Run, world: World, state: dict[str, Tensor] | None, first: int, last: int) -> Ran:
    """Steps first .. last - 1, from the state after `first` steps, or as the run begins. Consumes the run.

    Raises CheckpointError where a number is not finite.
    """
    step = Step(run, world)
    recorder = Recorder(run, step, world)
    if state is not None:
        step.remember(state)
    for number in range(first, last):
        batch = run.batches(number)
        losses, norm = step(batch, number)
        recorder.take(number + 1, batch, losses, norm)
    recorder.settle()
    memory = step.memory()
    if last == run.budget.steps:
        run.student.eval()
        run.scope.fold(run.student)
    rows = tuple(Row.parsed(row) for row in trace_rows.split(recorder.rows))
    return Ran(rows, memory, run.student)
