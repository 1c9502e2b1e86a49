"""Training in several processes makes one asset: rank 0 opens the asset and writes it, every rank trains."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from unlearning import files
from unlearning.contracts import Generator, GeneratorRecipe
from unlearning.errors import CheckpointError, StorageError
from unlearning.evidence import lineage, training_trace
from unlearning.evidence.lineage import Record
from unlearning.log import Log, silent
from unlearning.params import Params
from unlearning.training import checkpoint, parallel, snapshots, trace
from unlearning.training.journal import Journal
from unlearning.training.parallel import World
from unlearning.training.run import Trained
from unlearning.verbs._asset import make
from unlearning.workspace import BatchFolder

_DONE, _REFUSED = "done", "refused"


@dataclass(frozen=True, slots=True)
class Fitted:
    """What every rank holds after training: the same weights, and what was learnt from (JSON, without a clock)."""

    generator: Generator
    recipe: GeneratorRecipe
    trained: Trained
    facts: dict[str, Any]
    preparing: float = 0.0  # seconds before the first step: what a method learns, caches, reading weights
    beside: Callable[[Path], None] | None = None  # writes what lies beside the weights; rank 0


Fit: TypeAlias = Callable[[World, str, Log], Fitted]  # (world, key, log): on every rank
Train: TypeAlias = Callable[[Path], dict[str, Any]]  # fills a folder with the checkpoint, returns the facts; rank 0
Fill: TypeAlias = Callable[[Path, str, Train], dict[str, Any]]  # (folder, key, train): rank 0


def make_together(name: str, params: Params, batch: BatchFolder, log: Log, fit: Fit, fill: Fill) -> Record:
    """`_asset.make` on rank 0, with every rank called in whenever `fill` trains. The record, on every rank."""
    with parallel.world() as world:
        if not world.leads:
            return _follow(name, batch, world, fit)
        in_training = False

        def fill_here(folder: Path, key: str) -> dict[str, Any]:
            def train(target: Path) -> dict[str, Any]:
                nonlocal in_training
                with files.locked(_lock(batch, key), f"the checkpoint of key {key[:12]}"):
                    _sweep(target)
                    world.told(key)
                    in_training = True
                    fitted = fit(world, key, log)
                    in_training = False
                    return _write(target, fitted, params, batch, key, world)

            return fill(folder, key, train)

        try:
            record = make(name, params, batch, log, fill_here)
        except BaseException:
            if not in_training:  # in training, the others fail with us, or torchrun ends them
                world.told(_REFUSED)
            raise
        world.told(_DONE)
        _forget_work(batch, record.key)
        return record


def _sweep(target: Path) -> None:
    """What a killed attempt at the same checkpoint left. `target` is `<place>/.partial/<name>-<process>-<number>`."""
    if target.parent.name == ".partial":
        files.sweep(target.parent.parent / target.name.rsplit("-", 2)[0], but=target)


def _follow(name: str, batch: BatchFolder, world: World, fit: Fit) -> Record:
    while (said := world.told(None)) not in (_DONE, _REFUSED):
        fit(world, str(said), silent)
    if said == _REFUSED:
        raise CheckpointError(f"rank {world.rank}: rank 0 stopped without making {name}; its own message says why")
    return lineage.read(batch, name)


def _write(target: Path, fitted: Fitted, params: Params, batch: BatchFolder, key: str, world: World) -> dict[str, Any]:
    """The checkpoint and its log. The facts to record: those stored, and what a clock or a resumption adds."""
    trained = fitted.trained
    stored = {"steps": trained.steps, **fitted.facts, "last": trained.last}
    stored |= snapshots.write(target, trained.snapshots, params.original.snapshots)
    checkpoint.save(target, fitted.generator, fitted.recipe, params.data.image_size, params.data.channels, stored)
    if fitted.beside is not None:
        fitted.beside(target)
    files.write_bytes(target / "log.jsonl", Journal(batch.workspace.work(key) / "log.jsonl").content())
    if trained.traces:
        weights_sha256 = checkpoint.describe(target)["weights_sha256"]
        training_trace.write(target, trained.traces, trace.machine(world), weights_sha256)
    run = {
        "preparation_seconds": round(fitted.preparing, 3),
        "seconds": round(trained.seconds, 3),
        "resumed_from": trained.resumed_from,
        "processes": world.size,
    }
    return {**stored, **run}


def _forget_work(batch: BatchFolder, key: str) -> None:
    """Resumable state holds what was learnt from images to forget: it goes as soon as the asset stands."""
    work = batch.workspace.work(key)
    if work.exists():
        try:
            with files.locked(_lock(batch, key), "the work folder"):
                shutil.rmtree(work)
        except StorageError:
            return  # another batch with the very same key is training there: it cleans up after itself


def _lock(batch: BatchFolder, key: str) -> Path:
    return batch.workspace.root / "work" / ".locks" / key
