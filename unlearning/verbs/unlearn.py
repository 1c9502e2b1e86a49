"""Make the original forget: method x merge x scope, from the original's weights, on the forget and retain manifests."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearning import digests
from unlearning.contracts import (
    Corruption,
    Generator,
    GeneratorRecipe,
    Merge,
    Method,
    Preparation,
    Prepared,
    Scope,
)
from unlearning.data.batches import Batches
from unlearning.data.images import ImageSet
from unlearning.errors import ParamsError
from unlearning.evidence.lineage import Record
from unlearning.generators.sharded import ShardedRecipe
from unlearning.log import Log
from unlearning.methods.retrain import Retrain
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.training import checkpoint, snapshots
from unlearning.training.known import Shelf, remember
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run, Seen
from unlearning.training.savepoint import Savepoints
from unlearning.training.stopping import Stopping
from unlearning.training.task import Place
from unlearning.verbs import _exact, _planned, _retrain, _trained_on
from unlearning.verbs._kinds import check
from unlearning.verbs._together import Fitted, Train, make_together
from unlearning.workspace import BatchFolder


def run(params: Params, batch: BatchFolder, log: Log) -> Record:
    """Make unlearned_checkpoint. Run again after a crash to resume.

    What `unlearn` says is what the batch's plan says. Raises ParamsError, ManifestError, DataError or CheckpointError,
    and PolicyError where the plan is to suppress, with the asset as it was.
    """
    _planned.refuse_outdated(params, batch)
    params = _planned.applied(params, batch)
    check(params)
    again = params.unlearn.method.kind == Retrain.kind

    def fit(world: World, key: str, log: Log) -> Fitted:
        return (_retrain.fit if again else _fit)(params, batch, world, key, log)

    def fill(folder: Path, key: str, train: Train) -> dict[str, Any]:
        _planned.refuse_suppressed(params, batch)
        return _retrain.fill(params, batch, folder, train, log) if again else train(folder)

    return make_together("unlearned_checkpoint", params, batch, log, fit, fill)


def _fit(params: Params, batch: BatchFolder, world: World, key: str, log: Log) -> Fitted:
    recipe = GeneratorRecipe.chosen(params.generator, "generator")
    if isinstance(recipe, ShardedRecipe):  # `check` lets it meet `sisa` alone, which trains instead of unlearning
        return _exact.forget(params, batch, recipe, world, key, log)
    began = time.monotonic()
    task, images = prepared(params, batch, recipe, world, key, batch.workspace.work(key), log)
    preparing = time.monotonic() - began
    trained = train(task, world, batch.workspace.work(key), log)
    return Fitted(task.student, recipe, trained, {**_facts(task, images), **trained.stopped}, preparing)


def prepared(
    params: Params, batch: BatchFolder, recipe: GeneratorRecipe, world: World, key: str, work: Path, log: Log
) -> tuple[Run, dict[str, int]]:
    """The run, and how many images a set has. The original leaves memory here if nobody asks it any more.

    work  where what is computed before the first step is kept; `params.unlearn` is what the batch's plan says
    """
    method, merge, scope = _chosen(params)
    corruption, budget = Corruption.chosen(params.corruption, "corruption"), params.unlearn.budget
    original = checkpoint.load(batch.original, expected=recipe)
    _refuse_unfit(method, original)
    student = copy.deepcopy(original)
    original.to(world.device).requires_grad_(False)

    forget, retain = (ImageSet(table, batch.workspace, params.data) for table in _trained_on.unlearning(batch))
    place = Place.of(world, budget.seed, budget.batch_size)
    draws = Draws(budget.seed, budget.batch_size, where=("prepare",), device=world.device)
    spread = snapshots.read(batch.original)
    given = Preparation(original, forget, retain, corruption, draws, world.device, spread)
    seen = forget if method.uses_forget else None
    kept = retain if method.reads_retain else None
    walk = Batches(seen, kept, budget.batch_size, budget.seed, place.first, place.rows, flip=params.data.flip)
    task = Run(
        stage="unlearned_checkpoint",
        student=student,
        original=original if method.uses_original else None,
        method=method,
        merge=merge,
        scope=scope,
        corruption=corruption,
        batches=walk,
        budget=budget,
        recipe={"key": key},
        prepared_method=_once(work / "prepared" / "method", key, world, lambda: method.prepare(given)),
        prepared_scope=_once(work / "prepared" / "scope", key, world, lambda: scope.prepare(given)),
        holes_by_row=params.unlearn.holes == "row",
        stopping=None if params.unlearn.stop is None else Stopping(params.unlearn.stop, forget, retain),
        seen=Seen(_sha256(seen), _sha256(kept), keep=params.trace.keep),
    )
    if params.unlearn.cache:
        task = remember(task, walk, _shelf(params, batch, work), world, log)
    return task, {"forget_images": len(forget), "retain_images": len(retain)}


def _shelf(params: Params, batch: BatchFolder, work: Path) -> Shelf:
    """With the run's resumable state, because it holds what was made of images to forget, and goes when that goes."""
    made_of = {
        "weights_sha256": checkpoint.describe(batch.original)["weights_sha256"],
        "generator": params.generator.model_dump(mode="json"),
        "data": params.data.model_dump(mode="json"),
        "forget_sha256": digests.of_file(batch.forget),
        "retain_sha256": digests.of_file(batch.retain),
    }
    return Shelf(work / "known", made_of, int(params.unlearn.cache_gib * 2**30))


def _sha256(images: ImageSet | None) -> list[str]:
    """Of every image's stored bytes, by row; of an absent set none."""
    return [] if images is None else images.table["sha256"].to_pylist()


def _facts(task: Run, images: dict[str, int]) -> dict[str, Any]:
    """What was learnt, from how many images."""
    return {
        "role": "unlearned",
        **images,
        "method": task.method.model_dump(),
        "merge": task.merge.model_dump(),
        "scope": task.scope.model_dump(),
        "batch_size": task.budget.batch_size,
        "seed": task.budget.seed,
    }


def _chosen(params: Params) -> tuple[Method, Merge, Scope]:
    plan = params.unlearn
    return (
        Method.chosen(plan.method, "unlearn.method"),
        Merge.chosen(plan.merge, "unlearn.merge"),
        Scope.chosen(plan.scope, "unlearn.scope"),
    )


def _refuse_unfit(method: Method, original: Generator) -> None:
    if not isinstance(original, method.needs()):
        raise ParamsError(
            f"unlearn.method: {method.kind!r} needs a generator that is a {method.needs().__name__}; "
            f"this one is a {type(original).__name__}"
        )


def _once(folder: Path, key: str, world: World, prepare: Callable[[], Prepared]) -> Prepared:
    """What a method or scope computes before the first step: by rank 0, kept with the run's resumable state."""
    kept = Savepoints(folder, {"key": key})
    if world.leads and kept.newest() is None:
        kept.save(0, {name: value.detach().cpu().contiguous() for name, value in prepare().items()})
    world.wait()
    found = kept.newest()
    return found[1] if found else {}
