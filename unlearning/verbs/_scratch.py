"""Training from random weights: of the original, of the reference, and of a model that is trained again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import torch

from unlearning.contracts import Corruption, GeneratorRecipe, Method, Published
from unlearning.data.batches import Batches
from unlearning.data.images import ImageSet
from unlearning.log import Log
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.params import Params
from unlearning.scopes.all import All
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run, Seen
from unlearning.training.task import Place
from unlearning.verbs import _first_stage, _published, _trained_on
from unlearning.verbs._first_stage import Laid
from unlearning.verbs._together import Fitted
from unlearning.workspace import BatchFolder


@dataclass(frozen=True, slots=True)
class Scratch:
    """Who is trained, by which name and formula, on which of the training images."""

    role: str  # original | reference | unlearned
    method: Method  # the family's own loss on what is kept, whatever it is called
    kept: pa.Table
    left_out: int


def fit(scratch: Scratch, params: Params, batch: BatchFolder, world: World, key: str, log: Log) -> Fitted:
    """Train it with the original's budget and seed: the same images give the same bits, whatever the role."""
    recipe = GeneratorRecipe.chosen(params.generator, "generator")
    published = _published.read(params, recipe)
    task, work = run(scratch, params, batch, world, key, published), batch.workspace.work(key)
    laid = _first_stage.lay(task, recipe, world, work, log) if published is None else Laid()
    trained = train(task, world, work, log)
    trained = replace(trained, traces=(*laid.traces, *trained.traces))
    facts: dict[str, Any] = {"role": scratch.role, "images": len(scratch.kept), "left_out": scratch.left_out}
    facts |= {"seed": task.budget.seed, **laid.facts}
    facts |= {} if published is None else {"fixed_parts": _published.facts(params, published)}
    chosen = {"method": task.method.model_dump(), "merge": task.merge.model_dump(), "scope": task.scope.model_dump()}
    return Fitted(task.student, recipe, trained, {**facts, **chosen, "batch_size": task.budget.batch_size})


def run(
    scratch: Scratch, params: Params, batch: BatchFolder, world: World, key: str, published: Published | None
) -> Run:
    """Its training, before the first step of it or of its first stage."""
    budget, recipe = params.original, GeneratorRecipe.chosen(params.generator, "generator")
    with torch.random.fork_rng():
        torch.manual_seed(budget.seed)
        student = recipe.build(params.data.image_size, params.data.channels)
    if published is not None:
        _published.take_over(student, published)
    place = Place.of(world, budget.seed, budget.batch_size)
    images = ImageSet(scratch.kept, batch.workspace, params.data)
    return Run(
        stage=f"{scratch.role}_checkpoint",
        student=student,
        original=None,
        method=scratch.method,
        merge=WeightedSum(),
        scope=All(),
        corruption=Corruption.chosen(params.corruption, "corruption"),
        batches=Batches(None, images, budget.batch_size, budget.seed, place.first, place.rows, flip=params.data.flip),
        budget=budget,
        recipe={"key": key},
        seen=Seen((), scratch.kept["sha256"].to_pylist(), keep=params.trace.keep),
    )


def without(params: Params, batch: BatchFolder, role: str, method: Method, *forget: pa.Table) -> Scratch:
    """Every training image but those in `forget`. Raises ManifestError if none is left."""
    kept, left_out = _trained_on.without(batch, params.data.name, role, *forget)
    return Scratch(role, method, kept, left_out)
