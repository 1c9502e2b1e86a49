"""Training from random weights: of the original, of the reference, and of a model that is trained again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from unlearning.contracts import Corruption, GeneratorRecipe, Method
from unlearning.data import index, manifest
from unlearning.data.batches import Batches
from unlearning.data.images import ImageSet
from unlearning.errors import ManifestError
from unlearning.log import Log
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.params import Params
from unlearning.scopes.all import All
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.task import Place
from unlearning.verbs import _first_stage, _published
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
    budget, recipe = params.original, GeneratorRecipe.chosen(params.generator, "generator")
    with torch.random.fork_rng():
        torch.manual_seed(budget.seed)
        student = recipe.build(params.data.image_size, params.data.channels)
    published = _published.read(params, recipe)
    if published is not None:
        _published.take_over(student, published)
    place = Place.of(world, budget.seed, budget.batch_size)
    images = ImageSet(scratch.kept, batch.workspace, params.data)
    merge, scope = WeightedSum(), All()
    task = Run(
        stage=f"{scratch.role}_checkpoint",
        student=student,
        original=None,
        method=scratch.method,
        merge=merge,
        scope=scope,
        corruption=Corruption.chosen(params.corruption, "corruption"),
        batches=Batches(None, images, budget.batch_size, budget.seed, place.first, place.rows, flip=params.data.flip),
        budget=budget,
        recipe={"key": key},
    )
    work = batch.workspace.work(key)
    laid = _first_stage.lay(task, recipe, world, work, log) if published is None else {}
    trained = train(task, world, work, log)
    facts: dict[str, Any] = {"role": scratch.role, "images": len(images), "left_out": scratch.left_out}
    facts |= {"seed": budget.seed, **laid}
    facts |= {} if published is None else {"fixed_parts": _published.facts(params, published)}
    chosen = {"method": scratch.method.model_dump(), "merge": merge.model_dump(), "scope": scope.model_dump()}
    return Fitted(student, recipe, trained, {**facts, **chosen, "batch_size": budget.batch_size})


def without(params: Params, batch: BatchFolder, role: str, method: Method, *forget: pa.Table) -> Scratch:
    """Every training image but those in `forget`. Raises ManifestError if none is left."""
    every = manifest.only(index.read(batch.workspace.dataset(params.data.name)), "train")
    kept = manifest.minus(every, *forget)
    if not len(kept):
        raise ManifestError(
            f"batch {batch.key}: no training image of data set {params.data.name!r} is left for the {role} model; "
            f"requests must leave something to keep"
        )
    return Scratch(role, method, kept, len(every) - len(kept))
