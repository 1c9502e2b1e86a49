"""The part of a generator that is fixed in unlearning, trained before the rest of it where nobody published one.

The original's sees every training image; the reference's own sees none of the forget set. To give the reference the
original's would be cheaper, and wrong: it would have seen what it must never have seen.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearning.contracts import GeneratorRecipe
from unlearning.log import Log, Progress
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run

PART = "first_stage"


def lay(run: Run, recipe: GeneratorRecipe, world: World, work: Path, log: Log) -> dict[str, Any]:
    """Train and settle the first stage of `run.student`, on the run's own images; what is recorded of it, if any.

    Resumes like the run itself. Raises CheckpointError where a loss is not finite.
    """
    budget, part = recipe.first_stage_budget(run.budget), run.student.first_stage()
    if budget is None or part is None:
        return {}

    def said(line: Progress) -> None:
        numbers = {f"{PART}/{name}": value for name, value in line.numbers.items()}
        log(replace(line, stage=f"{line.stage}, {PART}", numbers=numbers))

    first = replace(run, student=part, budget=budget, recipe={**run.recipe, "part": PART})
    trained = train(first, world, work / PART, said)
    run.student.settle(part)
    return {PART: {"steps": trained.steps, "last": trained.last}}
