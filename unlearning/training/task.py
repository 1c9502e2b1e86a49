"""What a step computes, as one module: PyTorch's data parallelism hooks `forward` only, and unlearning calls `encode`.

The same task trains the original, the reference and the unlearned model; method and starting point differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from unlearning.contracts import Generator, Method, Prepared
from unlearning.randomness import Draws, generator
from unlearning.training.holes import Holes
from unlearning.training.parallel import World
from unlearning.types import Batch, Drawn, Terms


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process's rows lie in the batch of all processes, and the seed of all random numbers."""

    seed: int
    first: int
    rows: int
    total: int

    @classmethod
    def of(cls, world: World, seed: int, batch_size: int) -> Place:
        """The share of one process. Raises ParamsError if the batch cannot be shared equally."""
        rows = world.share(batch_size)
        return cls(seed, world.rank * rows, rows, batch_size)


class Task(nn.Module):
    """`task(drawn, step)` is the two terms of one step. Holds the student; the original is no part of it."""

    student: Generator

    def __init__(
        self,
        student: Generator,
        original: Generator | None,
        method: Method,
        holes: Holes,
        prepared: Prepared,
        place: Place,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.student = student.to(device).train()
        # In a tuple, so that it is no submodule: neither trained, nor saved, nor broadcast.
        self._original = (student if original is None else original.to(device).eval().requires_grad_(False),)
        self._method, self._holes, self._place, self._device = method, holes, place, device
        self._prepared = {name: value.to(device) for name, value in prepared.items()}

    def forward(self, drawn: Drawn, step: int, skipped: int = 0) -> Terms:
        """Corrupt, and let the method speak. Random numbers are a function of (seed, step, row).

        `drawn` may be a part of this process's rows; `skipped` is how many came before it.
        """
        place, rows = self._place, len(drawn)
        first = place.first + skipped
        # A network's own dropout draws from torch's global stream; that, too, is made a function of its place.
        torch.manual_seed(generator(place.seed, "network", step, first).initial_seed())
        draws = Draws(place.seed, rows, first, place.total, (step,), self._device)
        batch = Batch(
            forget=self._holes.pair("forget", drawn.forget, draws),
            retain=self._holes.pair("retain", drawn.retain, draws),
        )
        return self._method.terms(self.student, self._original[0], batch, draws, self._prepared)
