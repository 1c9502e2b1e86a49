"""The part of a generator that is fixed in unlearning, trained before the rest of it where nobody published one.

The original's sees every training image; the reference's own sees none of the forget set. To give the reference the
original's would be cheaper, and wrong: it would have seen what it must never have seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unlearning.contracts import GeneratorRecipe
from unlearning.log import Log, Progress
from unlearning.trace_rows import Part
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run

PART = "first_stage"


@dataclass(frozen=True, slots=True)
class Laid:
    """What is recorded of a first stage; nothing of one that there is not."""

    facts: dict[str, Any] = field(default_factory=dict)
    traces: tuple[Part, ...] = ()


def lay(run: Run, recipe: GeneratorRecipe, world: World, work: Path, log: Log) -> Laid:
    """Train and settle the first stage of `run.student`, on the run's own images, if it has one.

    Resumes like the run itself. Raises CheckpointError where a loss is not finite.
    """
    first = stage(run, recipe)
    if first is None:
        return Laid()

    def said(line: Progress) -> None:
        numbers = {f"{PART}/{name}": value for name, value in line.numbers.items()}
        log(replace(line, stage=f"{line.stage}, {PART}", numbers=numbers))

    trained = train(first, world, work / PART, said)
    run.student.settle(first.student)
    return Laid({PART: {"steps": trained.steps, "last": trained.last}}, trained.traces)


def stage(run: Run, recipe: GeneratorRecipe) -> Run | None:
    """The training of the first stage of `run.student`; None where it has none."""
    budget, part = recipe.first_stage_budget(run.budget), run.student.first_stage()
    if budget is None or part is None:
        return None
    seen = None if run.seen is None else replace(run.seen, part=PART)
    return replace(run, student=part, budget=budget, recipe={**run.recipe, "part": PART}, seen=seen)
