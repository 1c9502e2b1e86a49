"""Our step on the same model, data and hole: `remember` first, then Run and Step as the verb `unlearn` has them."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tests.benchmarks.cases import Case
from unlearning.contracts import Generator, Preparation
from unlearning.data.batches import Batches
from unlearning.log import silent
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.methods.noise_target import NoiseTarget
from unlearning.params import Budget
from unlearning.randomness import Draws
from unlearning.scopes.encoder import Encoder
from unlearning.training.known import Shelf, remember
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.step import Step
from unlearning.types import Images

BANK = 64  # noise pictures of a real run; as few as a measurement allows are drawn here, and their cost is scaled
_MEASURED_BANK = 2
EPOCHS = 6  # of the published recipe
SET_BATCHES = 2  # batches a set holds: the cache is built for all of them


class Pictures:
    """Random pictures, kept as bytes as ImageSet keeps them."""

    def __init__(self, case: Case, seed: int) -> None:
        shape = (SET_BATCHES * case.images, case.channels, case.image_size, case.image_size)
        self._kept = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self._kept)

    def __call__(self, rows: torch.Tensor) -> Images:
        return self._kept[rows].float().div_(127.5).sub_(1.0)


@dataclass(frozen=True, slots=True)
class Ours:
    """The step, and what was paid before the first."""

    step: Callable[[int], object]
    batches: Callable[[int], object]
    cache_s: float  # for SET_BATCHES batches a set
    bank_s: float  # a noise picture


def batches_of(case: Case) -> Batches:
    return Batches(Pictures(case, 1), Pictures(case, 2), case.images, seed=0)


def ours(original: Generator, case: Case, device: torch.device) -> Ours:
    """Consumes the original: nobody asks it once the cache stands."""
    precision = "bfloat16" if device.type == "cuda" else "float32"
    walk = batches_of(case)
    budget = Budget(
        steps=EPOCHS * SET_BATCHES,
        batch_size=case.images,
        learning_rate=1e-4,
        precision=precision,
        chunk=case.chunk,
    )
    method, sources = NoiseTarget(bank=_MEASURED_BANK), (Pictures(case, 1), Pictures(case, 2))
    student = copy.deepcopy(original)
    original.to(device).eval().requires_grad_(False)
    given = Preparation(original, *sources, case.corruption, Draws(0, case.images, device=device), device)
    began = time.perf_counter()
    prepared = method.prepare(given)
    bank_s = (time.perf_counter() - began) / _MEASURED_BANK
    run = Run(
        stage="bench",
        student=student,
        original=original,
        method=method,
        merge=WeightedSum(forget_weight=0.25),
        scope=Encoder(),
        corruption=case.corruption,
        batches=walk,
        budget=budget,
        recipe={},
        prepared_method=prepared,
        holes_by_row=case.by_row,
    )
    world = World(0, 1, device)
    with tempfile.TemporaryDirectory() as folder:  # mapped files outlive their names
        began = time.perf_counter()
        run = remember(run, walk, Shelf(Path(folder), {}, 2**40), world, silent)
        cache_s = time.perf_counter() - began
    step = Step(replace(run, budget=budget.model_copy(update={"steps": 10**6})), world)
    return Ours(lambda number: step(run.batches(number), number), run.batches, cache_s, bank_s)
