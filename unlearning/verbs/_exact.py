"""The exact tier: the original of shards, its reference, and what deletion retrains.

Deletion: every member whose rows the requests touch goes back to its state before the first touched slice, or to
random weights, and runs on without them; all others are copied bit by bit. The reference trains the touched members
from random weights. Where both ran on one machine the two are equal in every bit: the certificate compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from unlearning import files
from unlearning.contracts import GeneratorRecipe, Method
from unlearning.data import index, manifest, sharding
from unlearning.data.sharding import Dealt
from unlearning.errors import ManifestError
from unlearning.generators.sharded import ShardedRecipe
from unlearning.log import Log
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.sisa import Sisa
from unlearning.params import Params
from unlearning.training.journal import Journal
from unlearning.training.parallel import World
from unlearning.training.run import Run, Trained
from unlearning.verbs import _published, _shards
from unlearning.verbs._shards import Kept, Member, Plan, Shop, Standing
from unlearning.verbs._together import Fitted
from unlearning.workspace import BatchFolder


@dataclass(frozen=True, slots=True)
class Job:
    """The training of one member."""

    plan: Plan
    shard: int
    rows: Dealt
    before: Sequence[Kept]
    shop: Shop

    def run(self) -> Run:
        """It, before its first step."""
        return _shards.member_run(self.plan, self.shard, self.rows, self.before, self.shop)

    def state(self, run: Run) -> dict[str, Tensor] | None:
        """What it goes on from; None: from the weights that it has."""
        return _shards.state(self.before, run.student) if run.recipe["start"] else None


def expected_share_touched(shards: int, requests: int) -> float:
    """Of the shards, by requests that each fall into one, whichever: 1 - (1 - 1/S)^K.

    >>> round(expected_share_touched(10, 10), 2)
    0.65
    """
    return 1 - (1 - 1 / shards) ** requests


def chosen(params: Params) -> ShardedRecipe | None:
    """The recipe, if params.yaml chooses shards."""
    recipe = GeneratorRecipe.chosen(params.generator, "generator")
    return recipe if isinstance(recipe, ShardedRecipe) else None


def original(params: Params, batch: BatchFolder, recipe: ShardedRecipe, world: World, key: str, log: Log) -> Fitted:
    """Every member from random weights. Raises ManifestError for a shard or slice without an image."""
    plan = _plan(params, recipe)
    rows = sharding.deal(_training_rows(params, batch), plan.rule)
    shop = _shop("original_checkpoint", NaiveDeletion(), params, batch, world, key, log)
    members = [_shards.train_member(plan, j, rows.member(j), (), shop) for j in range(recipe.shards)]
    return _fitted(plan, rows, members, shop, {"role": "original", "images": len(rows), "left_out": 0}, states=True)


def reference(
    params: Params, batch: BatchFolder, recipe: ShardedRecipe, base: Path | None, world: World, key: str, log: Log
) -> Fitted:
    """Touched members from random weights without the forget rows; others are copied from `base`, or trained too.

    base   the checkpoint that deletion starts from: what it was trained on is what the reference may have seen
    Raises ManifestError where nothing is left of a shard.
    """
    found = None if base is None else _shards.standing(base, recipe, batch.workspace)
    plan = _plan(params, recipe) if found is None else found.plan
    before = sharding.deal(_training_rows(params, batch), plan.rule) if found is None else found.rows
    rows = _less(before, batch, plan)
    shop = _shop("reference_checkpoint", NaiveDeletion(), params, batch, world, key, log)
    members = []
    for shard in range(recipe.shards):
        mine = rows.member(shard)
        standing = None if found is None else found.members[shard]
        if standing is None or standing.key != plan.key(shard, mine):
            standing = _shards.train_member(plan, shard, mine, (), shop)
        members.append(standing)
    facts = {"role": "reference", "images": len(rows), "left_out": len(before) - len(rows)}
    return _fitted(plan, rows, members, shop, facts, states=False)


def forget(params: Params, batch: BatchFolder, recipe: ShardedRecipe, world: World, key: str, log: Log) -> Fitted:
    """The original without the forget rows. Raises ManifestError where none was trained on, or a whole shard goes."""
    found = _shards.standing(batch.original, recipe, batch.workspace)
    plan, rows = found.plan, _less(found.rows, batch, found.plan)
    if len(rows) == len(found.rows):
        raise ManifestError(
            f"batch {batch.key}: no image to forget was in the training of any of {recipe.shards} shards, so there is "
            f"nothing to retrain; a request that covers a training image is right"
        )
    shop = _shop("unlearned_checkpoint", Sisa(), params, batch, world, key, log)
    members = [_retrained(found, shard, rows, shop) for shard in range(recipe.shards)]
    facts = {
        "role": "unlearned",
        "forget_images": len(found.rows) - len(rows),
        "retain_images": len(rows),
        "expected_share_touched": expected_share_touched(recipe.shards, _groups(plan, found.rows, rows)),
    }
    return _fitted(plan, rows, members, shop, facts, states=True)


def _retrained(found: Standing, shard: int, rows: Dealt, shop: Shop) -> Member:
    """A member without the rows that went: itself where none of its own did."""
    member, had, mine = found.members[shard], found.rows.member(shard), rows.member(shard)
    if len(had) == len(mine):
        return member
    return _shards.train_member(found.plan, shard, mine, _clean(found, shard, mine), shop)


def _clean(found: Standing, shard: int, mine: Dealt) -> list[Kept]:
    """The states of a member before the first slice that is touched."""
    slices = found.plan.recipe.slices
    first_touched = int((found.rows.member(shard).up_to(slices) != mine.up_to(slices)).argmax())
    return [state for state in found.members[shard].states if state.slice < first_touched]


def jobs(
    params: Params, batch: BatchFolder, recipe: ShardedRecipe, role: str, world: World, work: Path, log: Log
) -> list[Job]:
    """How each member of a checkpoint of the batch is trained, if it is; the original's stand as they are now."""
    shop = Shop(f"{role}_checkpoint", NaiveDeletion(), batch.workspace, world, work, log, params.trace.keep)
    found = _shards.standing(batch.original, recipe, batch.workspace)
    rows = found.rows if role == "original" else _less(found.rows, batch, found.plan)
    told = list[Job]()
    for shard in range(recipe.shards):
        mine = rows.member(shard)
        before = _clean(found, shard, mine) if role == "unlearned" else []
        told.append(Job(found.plan, shard, mine, before, shop))
    return told


def _less(rows: Dealt, batch: BatchFolder, plan: Plan) -> Dealt:
    """The rows without those to forget. Raises ManifestError naming the first shard of which nothing is left."""
    left = rows.without(manifest.read(batch.forget))
    for shard in range(plan.recipe.shards):
        if not (left.shard == shard).any():
            raise ManifestError(
                f"batch {batch.key}: the requests cover all {(rows.shard == shard).sum()} images of shard {shard} of "
                f"{plan.recipe.shards}, and a shard must keep one at least; train a new original with fewer shards"
            )
    return left


def _groups(plan: Plan, before: Dealt, after: Dealt) -> int:
    """Of how many groups images went: each falls into a shard by chance, so they are the K of 1 - (1 - 1/S)^K."""
    kept = set(zip(*(after.table[name].to_pylist() for name in ("dataset", "key")), strict=True))
    keys = zip(*(before.table[name].to_pylist() for name in ("dataset", "key")), strict=True)
    return len({group for group, key in zip(plan.rule.groups(before.table), keys, strict=True) if key not in kept})


def _training_rows(params: Params, batch: BatchFolder) -> pa.Table:
    return manifest.only(index.read(batch.workspace.dataset(params.data.name)), "train")


def _plan(params: Params, recipe: ShardedRecipe) -> Plan:
    published = _published.read(params, recipe)
    fixed = {} if published is None else dict(published.generator.named_buffers())
    sha256 = None if published is None else published.sha256
    plan = Plan(recipe, params.original, params.corruption, params.data, fixed, sha256)
    plan.refuse_unfit()
    return plan


def _shop(stage: str, method: Method, params: Params, batch: BatchFolder, world: World, key: str, log: Log) -> Shop:
    return Shop(stage, method, batch.workspace, world, batch.workspace.work(key), log, params.trace.keep)


def _fitted(
    plan: Plan, rows: Dealt, members: Sequence[Member], shop: Shop, facts: Mapping[str, Any], states: bool
) -> Fitted:
    if shop.world.leads:
        _one_journal(shop.work, members, plan.budget.steps)
    runs = [(member, member.trained) for member in members if member.trained is not None]
    trained = Trained(
        steps=sum(plan.budget.steps - member.start for member, _ in runs),
        resumed_from=sum(max(0, run.resumed_from - member.start) for member, run in runs),
        seconds=sum(run.seconds for _, run in runs),
        last=runs[-1][1].last if runs else {},
        traces=tuple(part for _, run in runs for part in run.traces),
    )
    told = {
        **facts,
        "seed": plan.budget.seed,
        "batch_size": plan.budget.batch_size,
        "method": shop.method.model_dump(),
        "device": "cpu" if shop.world.device.type == "cpu" else torch.cuda.get_device_name(shop.world.device),
        "shards": _work_done(plan, members),
        **({} if plan.fixed_sha256 is None else {"fixed_parts": {"sha256": plan.fixed_sha256}}),
    }
    beside = _shards.writer(plan, rows, members, states)
    return Fitted(_shards.assembled(plan, members), plan.recipe, trained, told, beside=beside)


def _work_done(plan: Plan, members: Sequence[Member]) -> dict[str, Any]:
    """Which members were trained, from which step, and what share of a full training that is."""
    starts = {shard: member.start for shard, member in enumerate(members) if member.trained is not None}
    steps, full = sum(plan.budget.steps - start for start in starts.values()), plan.recipe.shards * plan.budget.steps
    return {
        "trained": list(starts),
        "from_random_weights": [shard for shard in starts if members[shard].fresh],
        "copied": [shard for shard in range(plan.recipe.shards) if shard not in starts],
        "from_step": {str(shard): start for shard, start in starts.items()},
        "steps": steps,
        "steps_of_all": full,
        "share_of_steps": steps / full,
        "share_touched": len(starts) / plan.recipe.shards,
    }


def _one_journal(work: Path, members: Sequence[Member], steps: int) -> None:
    """log.jsonl of all that was trained: a line's `step` counts on from member to member."""
    lines, done = list[bytes](), 0
    for shard, member in enumerate(members):
        if member.trained is not None:
            told = Journal(work / f"shard-{shard}" / "log.jsonl").lines()
            lines += [
                files.canonical({**line, "shard": shard, "step": line["step"] - member.start + done}) for line in told
            ]
            done += steps - member.start
    files.write_bytes(work / "log.jsonl", b"".join(line + b"\n" for line in lines))
