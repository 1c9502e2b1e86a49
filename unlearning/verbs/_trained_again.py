"""The trainings of a checkpoint as they were before their first step: what a replay runs parts of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from torch import Tensor

from unlearning.contracts import Generator, GeneratorRecipe
from unlearning.errors import EvidenceError
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.generators.sharded import ShardedRecipe
from unlearning.log import Log
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.trace import MODEL
from unlearning.verbs import _exact, _first_stage, _planned, _published, _scratch, _served, unlearn
from unlearning.verbs._kinds import check
from unlearning.workspace import BatchFolder


@dataclass(frozen=True, slots=True)
class Again:
    """One part of a trace: `run()` is made anew for every use, since a run changes its student."""

    part: str
    run: Callable[[], Run]
    state: Callable[[Run], dict[str, Tensor] | None] = field(default=lambda run: None)  # before its first row
    prefix: str | None = ""  # of its weights' names in model.safetensors; None: they are not there as they are


def parts(params: Params, batch: BatchFolder, role: str, world: World, work: Path, log: Log) -> list[Again]:
    """Every part of the trace of a checkpoint, in its order. `work` is scratch, and holds what was made of images.

    params  those of the certificate
    Raises EvidenceError for a checkpoint that was not trained in this batch, else what its training raises.
    """
    params = _planned.applied(params, batch)
    check(params)
    recipe, record = GeneratorRecipe.chosen(params.generator, "generator"), lineage.read(batch, f"{role}_checkpoint")
    if record.facts.get("source") in ("champion", "published"):
        raise EvidenceError(
            f"batch {batch.key}: its original was not trained for it but is {record.facts['source']}; the replay of "
            "the batch that made it is right"
        )
    if isinstance(recipe, ShardedRecipe):
        return _members(params, batch, recipe, record, role, world, work, log)
    if role == "unlearned" and "forget_images" in record.facts:

        def made() -> Run:
            return unlearn.prepared(params, batch, recipe, world, record.key, work, log)[0]

        return [Again(MODEL, made)]
    return _from_scratch(params, batch, recipe, record, role, world)


def _from_scratch(
    params: Params, batch: BatchFolder, recipe: GeneratorRecipe, record: Record, role: str, world: World
) -> list[Again]:
    forget: list[pa.Table] = [] if role == "original" else _served.forgotten(batch)
    scratch = _scratch.without(params, batch, role, NaiveDeletion(), *forget)
    key = str(record.facts.get("base") or record.key)
    if record.facts.get("trained_as") == "reference_checkpoint":
        key = lineage.read(batch, "reference_checkpoint").key

    def begun() -> Run:
        return _scratch.run(scratch, params, batch, world, key, _published.read(params, recipe))

    def staged() -> Run:
        stage = _first_stage.stage(begun(), recipe)
        assert stage is not None, "asked for only where there is one"
        return stage

    if _published.read(params, recipe) is not None or _first_stage.stage(begun(), recipe) is None:
        return [Again(MODEL, begun)]
    finished = checkpoint.load(batch.asset(record.asset), expected=recipe)
    return [
        Again(_first_stage.PART, staged, prefix=None),
        Again(MODEL, lambda: _with_fixed_parts(begun(), finished)),
    ]


def _with_fixed_parts(run: Run, finished: Generator) -> Run:
    """What no step moves is taken from the finished model: the first stage, which has a part of its own."""
    own, moving = run.student.state_dict(), run.scope.parameters(run.student)
    run.student.load_state_dict({**finished.state_dict(), **{name: own[name] for name in moving}})
    return run


def _members(
    params: Params,
    batch: BatchFolder,
    recipe: ShardedRecipe,
    record: Record,
    role: str,
    world: World,
    work: Path,
    log: Log,
) -> list[Again]:
    jobs = _exact.jobs(params, batch, recipe, role, world, work, log)
    return [
        Again(f"shard-{shard}", jobs[shard].run, jobs[shard].state, f"shard.{shard}.")
        for shard in record.facts["shards"]["trained"]
    ]
