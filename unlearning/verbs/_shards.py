"""The members of a sharded generator: each is trained alone, slice by slice, and its state after every slice is kept.

    step s of T reads slices 0 .. r of the shard,   r T / R <= s < (r + 1) T / R

A member is a function of its own rows, the budget and its number, and of nothing in another shard.

    <checkpoint>/shards.json   shards.parquet   slices/shard-<j>/slice-<r>.safetensors   (weights and optimizer)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

import unlearning
from unlearning import digests, files
from unlearning.abilities import Sharding
from unlearning.contracts import Corruption, Generator, Method
from unlearning.data import index, sharding
from unlearning.data.batches import Batches
from unlearning.data.images import ImageSet
from unlearning.data.sharding import Dealt, Rule
from unlearning.errors import CheckpointError, ParamsError, StorageError
from unlearning.generators.sharded import ShardedRecipe
from unlearning.log import Log, Progress
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.params import Budget, Data
from unlearning.randomness import generator
from unlearning.recipe import Choice
from unlearning.scopes.all import All
from unlearning.training import checkpoint
from unlearning.training.loop import train
from unlearning.training.parallel import World
from unlearning.training.run import Run, Seen, Trained
from unlearning.training.savepoint import Savepoints
from unlearning.training.task import Place
from unlearning.training.trace import rows_tensor
from unlearning.verbs._slices import Leading, Slices
from unlearning.workspace import Workspace

SCHEMA = "shards/1"
_PLAN, _TABLE = "shards.json", "shards.parquet"


@dataclass(frozen=True, slots=True)
class Plan:
    """What every member's training is a function of, beside its rows and its number."""

    recipe: ShardedRecipe
    budget: Budget
    corruption: Choice
    data: Data
    fixed: Mapping[str, Tensor] = field(default_factory=dict)  # a member's published buffers, by name; empty = none
    fixed_sha256: str | None = None  # of the file that they are from

    @property
    def rule(self) -> Rule:
        """How rows are dealt out."""
        return Rule(self.recipe.shards, self.recipe.slices, self.recipe.by, self.recipe.seed)

    @property
    def edges(self) -> list[int]:
        """The step at which each slice's period begins: [slices], the first is 0."""
        return [period * self.budget.steps // self.recipe.slices for period in range(self.recipe.slices)]

    def key(self, shard: int, rows: Dealt) -> str:
        """sha256 of everything that the member is a function of."""
        data = self.data.model_dump(mode="json", exclude={"name"})
        made_of: list[Any] = [self.recipe.of.model_dump(mode="json"), self.budget.model_dump(mode="json")]
        made_of += [self.corruption.model_dump(mode="json"), data, shard, rows.content(self.recipe.slices)]
        made_of += [self.recipe.adapters, self.fixed_sha256]
        return digests.of_value([*made_of, unlearning.__version__])

    def refuse_unfit(self) -> None:
        """Raise ParamsError for a member or budget that exact deletion cannot be promised of."""
        if self.budget.steps < self.recipe.slices:
            raise ParamsError(
                f"generator.slices: {self.recipe.slices} slices need as many steps, and original.steps is "
                f"{self.budget.steps}; fewer slices or more steps are right"
            )
        if self.recipe.adapters and self.fixed_sha256 is None:
            raise ParamsError(
                "generator.adapters: adapters stand over a published backbone; name one in model.weights, or set 0"
            )
        if self.fixed_sha256 is None and self.recipe.part().first_stage_budget(self.budget) is not None:
            raise ParamsError(
                f"generator.of: {self.recipe.of.kind!r} trains a first stage on its images before anything else, which "
                f"going back to a slice would not undo; a family without one, or a published one, is right in shards"
            )


@dataclass(frozen=True, slots=True)
class Kept:
    """The resumable state of a member after the period of one slice."""

    slice: int
    step: int
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Member:
    """One member as it stands. `trained` is None where nothing was trained and it is a copy."""

    generator: Generator
    images: int
    key: str
    states: tuple[Kept, ...]
    start: int = 0  # step it was trained on from
    fresh: bool = False  # from random weights
    trained: Trained | None = None


@dataclass(frozen=True, slots=True)
class Shop:
    """Where members are trained, and what is said of it."""

    stage: str
    method: Method
    workspace: Workspace
    world: World
    work: Path
    log: Log
    keep: int | None = None  # steps between states that a training trace keeps


def train_member(plan: Plan, shard: int, rows: Dealt, before: Sequence[Kept], shop: Shop) -> Member:
    """Member `shard`, trained on `rows` from the last of the states `before`, or from random weights.

    A slice's period that would have nothing to read is passed over. Run again after a crash to resume. Raises
    CheckpointError where a loss is not finite or a state is not what its sha256 says.
    """
    run, work = member_run(plan, shard, rows, before, shop), shop.work / f"shard-{shard}"
    savepoints, start = Savepoints(work, run.recipe), int(run.recipe["start"])
    if start and shop.world.leads and savepoints.newest() is None:
        savepoints.save(start, {**state(before, run.student), **rows_tensor(b"")})
    shop.world.wait()
    trained = train(run, shop.world, work, _said(shop.log, shard, plan.recipe.shards))
    made = [(place, step, savepoints.kept(step)) for place, step in enumerate(plan.edges[1:]) if step > start]
    states = (*before, *(Kept(place, step, path, digests.of_file(path)) for place, step, path in made))
    return Member(run.student.cpu(), len(rows), plan.key(shard, rows), states, start, not before, trained)


def member_run(plan: Plan, shard: int, rows: Dealt, before: Sequence[Kept], shop: Shop) -> Run:
    """The training of a member, from random weights or from the last of the states `before`, as `state` has them."""
    start = before[-1].step if before else plan.edges[int((rows.up_to(plan.recipe.slices) > 0).argmax())]
    return Run(
        stage=shop.stage,
        student=_student(plan, shard),
        original=None,
        method=shop.method,
        merge=WeightedSum(),
        scope=All(),
        corruption=Corruption.chosen(plan.corruption, "corruption"),
        batches=_walk(plan, shard, rows, shop),
        budget=_budget(plan, shard),
        recipe={"member": plan.key(shard, rows), "start": start},
        edges=frozenset(plan.edges[1:]),
        seen=Seen((), rows.table["sha256"].to_pylist(), f"shard-{shard}", shop.keep),
    )


def assembled(plan: Plan, members: Sequence[Member]) -> Generator:
    """The sharded generator of these members, with how many images each has."""
    from unlearning.generators._sharded import of_members

    whole = of_members([member.generator for member in members])
    whole.images.copy_(torch.tensor([member.images for member in members]))
    return whole.eval()


def writer(plan: Plan, rows: Dealt, members: Sequence[Member], states: bool) -> Callable[[Path], None]:
    """What writes shards.json and shards.parquet into a checkpoint's folder, and the states where they are wanted."""

    def write(folder: Path) -> None:
        told = []
        for shard, member in enumerate(members):
            kept = member.states if states else ()
            for state in kept:
                path = _state_path(folder, shard, state.slice)
                path.parent.mkdir(parents=True, exist_ok=True)
                files.link_or_copy(state.path, path)
            named = [{"slice": state.slice, "step": state.step, "sha256": state.sha256} for state in kept]
            told.append({"key": member.key, "images": member.images, "states": named})
        plain: dict[str, Any] = {"fixed_sha256": plan.fixed_sha256}
        plain |= {name: getattr(plan, name).model_dump(mode="json") for name in ("budget", "corruption", "data")}
        files.write_json(folder / _PLAN, {"schema": SCHEMA, **plain, "members": told})
        rows.write(folder / _TABLE)

    return write


@dataclass(frozen=True, slots=True)
class Standing:
    """A checkpoint of shards as it lies there."""

    plan: Plan
    rows: Dealt
    members: tuple[Member, ...]


def standing(folder: Path, recipe: ShardedRecipe, workspace: Workspace) -> Standing:
    """Read it. Raises CheckpointError if it is damaged or of another recipe, DataError as `sharding.read` does."""
    whole = checkpoint.load(folder, expected=recipe)
    try:
        tree = files.read_json(folder / _PLAN)
        if tree["schema"] != SCHEMA or len(tree["members"]) != recipe.shards:
            raise KeyError("schema")
        plan = Plan(
            recipe,
            Budget.model_validate(tree["budget"]),
            Choice.model_validate(tree["corruption"]),
            Data.model_validate(tree["data"]),
            {} if tree["fixed_sha256"] is None else dict(_members(whole)[0].named_buffers()),
            tree["fixed_sha256"],
        )
        members = tuple(
            Member(generator, told["images"], told["key"], tuple(_kept(folder, shard, each) for each in told["states"]))
            for shard, (generator, told) in enumerate(zip(_members(whole), tree["members"], strict=True))
        )
    except (StorageError, ValidationError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / _PLAN}: not a {SCHEMA} ({' '.join(str(error).split())[:120]})") from None
    table = index.read(workspace.dataset(plan.data.name))
    return Standing(plan, sharding.read(folder / _TABLE, table), members)


def _members(whole: Generator) -> list[Generator]:
    assert isinstance(whole, Sharding), "a sharded recipe builds a sharded generator"
    return [member for member in whole.shard if isinstance(member, Generator)]


def _kept(folder: Path, shard: int, told: dict[str, Any]) -> Kept:
    place = int(told["slice"])
    return Kept(place, int(told["step"]), _state_path(folder, shard, place), str(told["sha256"]))


def _state_path(folder: Path, shard: int, place: int) -> Path:
    return folder / "slices" / f"shard-{shard}" / f"slice-{place}.safetensors"


def _budget(plan: Plan, shard: int) -> Budget:
    """With a seed of the member's own: (seed, j). Nothing here reads snapshots of weights."""
    seed = generator(plan.budget.seed, "shard", shard).initial_seed() >> 11  # JSON knows integers below 2^53
    return plan.budget.model_copy(update={"seed": seed, "snapshots": 0})


def _student(plan: Plan, shard: int) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(_budget(plan, shard).seed)
        student = plan.recipe.member(plan.data.image_size, plan.data.channels)
    for name, buffer in student.named_buffers() if plan.fixed else ():
        buffer.copy_(plan.fixed[name])
    return student


def _walk(plan: Plan, shard: int, rows: Dealt, shop: Shop) -> Slices:
    """Step -> its images, out of the slices whose period has begun."""
    images, budget = ImageSet(rows.table, shop.workspace, plan.data), _budget(plan, shard)
    place = Place.of(shop.world, budget.seed, budget.batch_size)
    where = (budget.batch_size, budget.seed, place.first, place.rows, plan.data.flip)
    counts = rows.up_to(plan.recipe.slices).tolist()
    return Slices(plan.edges, [Batches(None, Leading(images, count), *where) for count in counts])


def state(before: Sequence[Kept], student: Generator) -> dict[str, Tensor]:
    """The last of the states, or that of random weights before any step."""
    if before:
        return checkpoint.read_tensors(before[-1].path, before[-1].sha256)
    return {f"weight/{name}": weight.detach().clone() for name, weight in student.named_parameters()}


def _said(log: Log, shard: int, shards: int) -> Log:
    def said(line: Progress) -> None:
        numbers = {f"shard-{shard}/{name}": value for name, value in line.numbers.items()}
        log(replace(line, stage=f"{line.stage}, shard {shard} of {shards}", numbers=numbers))

    return said
