"""`unlearning verify DIR --replay K`: was a checkpoint trained as its trace says?

What the run begins with is computed again, and which images every step drew; then K random segments, each from one kept
state to the next, are run again: on the same sort of machine each row must be the same bits, and so must the state at
the end; elsewhere losses may differ by `TOLERANCE`. (Zhang et al., "Verification of Machine Unlearning is Fragile",
ICML 2024: an operator who lies well passes this, too.)
"""

from __future__ import annotations

import random
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearning import files
from unlearning.data import purging
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import lineage, purge, training_trace
from unlearning.evidence.training_trace import PartTold, Trace
from unlearning.log import Log, Progress, silent
from unlearning.params import Params
from unlearning.trace_rows import Row
from unlearning.training import checkpoint, parallel, replay, trace
from unlearning.training.parallel import World
from unlearning.verbs import _trained_again
from unlearning.verbs._trained_again import Again
from unlearning.workspace import BatchFolder, Workspace

TOLERANCE = 0.05  # of a loss or a norm, relative: another device rounds otherwise, and training carries it on
_EXACT = ("device", "torch", "processes")  # what bits depend on, beside the run


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps first + 1 .. last of a part, run again; `why` is "" where they are equal."""

    part: str
    first: int
    last: int
    why: str

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.why


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was done, and what differs."""

    role: str
    seed: int  # by which the segments were chosen
    exact: bool  # bits were compared
    drawn: int  # steps whose images were drawn again
    segments: tuple[Segment, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether everything that was tried came out as the trace has it."""
        return not self.problems and all(segment.equal for segment in self.segments)

    def as_json(self) -> dict[str, Any]:
        """As the command line says it."""
        return {"equal": self.equal, "steps": sum(one.last - one.first for one in self.segments), **asdict(self)}


def run(folder: Path, count: int, log: Log, seed: int | None = None, role: str = "unlearned") -> Replayed:
    """Replay `count` segments of a checkpoint's training, 0 = none: then only beginning and images are looked at.

    seed  of the choice; None: one that nobody can know beforehand
    Raises EvidenceError where there is no trace, where images were purged or the data set has changed since, or where
    the folder lies outside its root.
    """
    began, folder = time.monotonic(), folder.resolve()
    batch = _in_its_root(folder)
    record, told = _replayable(batch, role)
    params = _params(batch)
    seed = secrets.randbits(32) if seed is None else seed
    work = batch.workspace.root / "work"
    work.mkdir(parents=True, exist_ok=True)
    with (
        purging.reading(batch.workspace, params.data.name),
        tempfile.TemporaryDirectory(prefix="replay-", dir=work) as scratch,
        parallel.world() as world,
    ):
        again = _trained_again.parts(params, batch, role, world, Path(scratch), silent)
        replayed = _Replay(batch.asset(record.asset), told, again, world, log)
        problems = replayed.beginnings()
        segments = [] if problems else [replayed.segment(*one) for one in _chosen(told, count, seed)]
    return Replayed(
        role,
        seed,
        replayed.exact,
        sum(part.steps for part in told.told.parts),
        tuple(segments),
        tuple(problems),
        tuple(_notes(record, replayed)),
        round(time.monotonic() - began, 3),
    )


class _Replay:
    """The parts of one trace, and how they are made again."""

    def __init__(self, folder: Path, told: Trace, again: Sequence[Again], world: World, log: Log) -> None:
        self._folder, self._told, self._world, self._log = folder, told, world, log
        self._again = {part.part: part for part in again}
        self.here = trace.machine(world)
        self.exact = all(getattr(told.told, name) == self.here[name] for name in _EXACT) and told.told.deterministic

    def beginnings(self) -> list[str]:
        """What every part begins with, and which images its steps drew: a sentence for each part that differs."""
        found = []
        if [part.part for part in self._told.told.parts] != list(self._again):
            return [f"the trace is of {_named(self._told)}, and {', '.join(self._again)} would be trained"]
        for part, rows in zip(self._told.told.parts, self._told.rows, strict=True):
            again = self._again[part.part]
            made_of = replay.made_of(again.run(), self._world)
            differing = sorted(name for name in made_of if part.start.get(name) != made_of[name])
            if differing:
                found.append(f"{part.part}: begins with other {', '.join(differing)} than the training has")
                continue
            drawn = replay.drawn(again.run(), self._world, part.first, part.first + part.steps)
            wrong = next((step for (step, *two), row in zip(drawn, rows, strict=True) if two != list(row[1:3])), None)
            if wrong is not None:
                found.append(f"{part.part}: step {wrong} read other images than its seed draws")
        return found

    def segment(self, at: int, first: int, last: int) -> Segment:
        """Steps first + 1 .. last of the part at a place, run again."""
        part, rows = self._told.told.parts[at], self._told.rows[at]
        self._log(Progress("replay", first, last, note=f"{part.part}: steps {first + 1} to {last} are run again"))
        again = self._again[part.part]
        begun = again.run()
        state = again.state(begun) if first == part.first else self._state(part, first)
        ran = replay.ran(begun, self._world, state, first, last)
        recorded = rows[first - part.first : last - part.first]
        said = (_difference(mine, theirs, self.exact) for mine, theirs in zip(ran.rows, recorded, strict=True))
        why = next(filter(None, said), "")
        if not why and self.exact:
            why = self._ends_otherwise(part, again, ran, last)
        return Segment(part.part, first, last, why)

    def _ends_otherwise(self, part: PartTold, again: Again, ran: replay.Ran, last: int) -> str:
        kept = {state.step for state in part.states}
        if last in kept and not _same(ran.memory, self._state(part, last)):
            return f"every row is equal, and the state after step {last} is not the one that was kept"
        finished = last == part.start["budget"]["steps"] and again.prefix is not None
        if finished and "stopped_at" not in checkpoint.describe(self._folder)["facts"]:
            weights = checkpoint.read_tensors(self._folder / checkpoint.WEIGHTS, self._told.told.weights_sha256)
            made = {f"{again.prefix}{name}": value for name, value in checkpoint.tensors(ran.student).items()}
            if not _same(made, {name: weights[name] for name in made if name in weights}):
                return f"every row is equal, and the weights after step {last} are not those of the checkpoint"
        return ""

    def _state(self, part: PartTold, step: int) -> dict[str, Tensor]:
        state = next(one for one in part.states if one.step == step)
        return checkpoint.read_tensors(training_trace.state_path(self._folder, part.part, step), state.sha256)


def _in_its_root(folder: Path) -> BatchFolder:
    workspace = Workspace(folder.parent.parent)
    if folder.parent.name != "batches" or workspace.batch(folder.name).path != folder:
        raise EvidenceError(f"{folder}: a replay reads the data set; the folder of a batch below its root is right")
    return workspace.batch(folder.name)


def _replayable(batch: BatchFolder, role: str) -> tuple[lineage.Record, Trace]:
    record = lineage.read(batch, f"{role}_checkpoint")
    if purge.begun(batch):
        raise EvidenceError(
            f"batch {batch.key} is purged: the images that it forgot are no longer stored, so its training cannot be "
            "run again; its trace can only be read"
        )
    found = training_trace.read(batch.asset(record.asset))
    if found is None:
        raise EvidenceError(f"{batch.asset(record.asset)}: no training trace lies there, so there is nothing to replay")
    problems = training_trace.problems(found, batch.asset(record.asset))
    if problems:
        raise EvidenceError(f"{batch.asset(record.asset)}: {problems[0]}; a trace that holds is needed for a replay")
    return record, found


def _params(batch: BatchFolder) -> Params:
    """Those of the certificate. Raises EvidenceError where the data set is not the one that they were used on."""
    try:
        params = Params.model_validate(files.read_json(batch.certificate)["params"])
        stored = files.read_json(batch.workspace.dataset(params.data.name) / "dataset.json")["index_sha256"]
    except (StorageError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"{batch.path}: cannot be trained again ({' '.join(str(error).split())[:160]})") from None
    if stored != lineage.read(batch, "forget_manifest").inputs["image_dataset"]:
        raise EvidenceError(
            f"data set {params.data.name!r} has changed since batch {batch.key} was made (an ingest, or the purge of "
            "another batch), so what was trained on it cannot be run again"
        )
    return params


def _chosen(told: Trace, count: int, seed: int) -> list[tuple[int, int, int]]:
    """(place of the part, first, last) of at most `count` segments, in their order."""
    every = list[tuple[int, int, int]]()
    for at, part in enumerate(told.told.parts):
        ends = [part.first, *(state.step for state in part.states), part.first + part.steps]
        every += [(at, first, last) for first, last in pairwise(ends)]
    return sorted(random.Random(seed).sample(every, min(count, len(every))))


def _difference(ran: Row, recorded: Row, exact: bool) -> str:
    """What differs at a step, "" where it is within what another machine may differ by."""
    for name, mine, theirs in zip(Row._fields, ran, recorded, strict=True):
        measured = name in ("loss", "gradient_norm")
        near = measured and abs(float(mine) - float(theirs)) <= TOLERANCE * max(abs(float(theirs)), 1e-6)  # type: ignore[arg-type]
        if mine != theirs and (exact or not near):
            said = f"is {mine!r}, and the trace has {theirs!r}" if measured else "is not the trace's"
            return f"step {recorded.step}: the {name.replace('_', ' ')} {said}"
    return ""


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value.cpu(), other[name]) for name, value in one.items())


def _named(told: Trace) -> str:
    return ", ".join(part.part for part in told.told.parts)


def _notes(record: lineage.Record, replayed: _Replay) -> Iterator[str]:
    """What may explain a difference."""
    if not replayed.exact:
        yield (
            "this machine is of another sort than the one that trained (device, torch, processes), or its kernels were "
            f"not deterministic: losses and norms may differ by {TOLERANCE:.0%}, and weights were not compared"
        )
    if record.code.get("source_sha256") != lineage.code_identity()["source_sha256"]:
        yield "the code here is not the code that trained it"
