"""When to stop forgetting: the own loss of some images of both sets, under views that never change, every few steps.

    rise = (loss now - loss of the original) / |loss of the original|

A run whose retain loss rose too far ends with the last weights that were looked at and had not; one whose forget loss
rose far enough ends there. Rank 0 looks and the others are told, so all of them end at one step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unlearning.contracts import Corruption, Generator, ImageSource
from unlearning.params import Budget, Stop
from unlearning.randomness import Draws
from unlearning.training.parallel import World
from unlearning.types import Pair, SetName

_CHUNK_IMAGES = 64  # at once: memory, not the result, depends on it
_TINY = 1e-12  # a loss that is nothing has no share to rise by
_KEPT, _RECORD = "stop/kept/", "stop/record"


@dataclass(frozen=True, slots=True)
class Stopping:
    """The rule, and the images that it is measured on."""

    rule: Stop
    forget: ImageSource
    retain: ImageSource


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found after `after` steps, and the step whose weights were the last within bounds: `kept`."""

    after: int
    kept: int
    retain_rise: float
    forget_rise: float

    @property
    def too_far(self) -> bool:
        """The weights of this look are not those that are kept."""
        return self.kept < self.after


class Watch:
    """Looks at the student when it is time to, and holds the weights to go back to."""

    def __init__(
        self, stopping: Stopping | None, student: Generator, corruption: Corruption, budget: Budget, world: World
    ) -> None:
        self._stopping, self._student, self._corruption = stopping, student, corruption
        self._budget, self._world = budget, world
        self.last: Looked | None = None
        self._kept: dict[str, Tensor] = {}
        if stopping is not None:
            self._kept = self._weights()
            self._before = self._losses()

    @property
    def ended(self) -> bool:
        """Whether the rule has ended the run."""
        if self._stopping is None or self.last is None:
            return False
        wanted = self._stopping.rule.forget_rise_at_least
        return self.last.too_far or (wanted is not None and self.last.forget_rise >= wanted)

    @property
    def facts(self) -> dict[str, Any]:
        """Where the run ended and why, in one sentence; nothing without a rule."""
        if self._stopping is None or self.last is None:
            return {}
        rule, last = self._stopping.rule, self.last
        why = f"the {self._budget.steps} steps of the budget are done, and both losses were within bounds"
        if last.too_far:
            why = (
                f"after {last.after} steps the retain loss had risen by {last.retain_rise:.2%}, more than "
                f"{rule.retain_rise_at_most:.2%}; the weights are those after {last.kept}"
            )
        elif self.ended:
            why = f"the forget loss had risen by {last.forget_rise:.2%}, and {rule.forget_rise_at_least:.2%} are enough"
        return {"stopped_at": last.kept, "why_stopped": why}

    def look(self, done: int) -> dict[str, float]:
        """The two rises after `done` steps, for the log; nothing where it is not time. May put the weights back."""
        stopping = self._stopping
        if stopping is None or (done % stopping.rule.every and done != self._budget.steps):
            return {}
        now = self._losses()
        rises = {name: (now[name] - before) / max(abs(before), _TINY) for name, before in self._before.items()}
        if rises["retain"] > stopping.rule.retain_rise_at_most:
            self._put_back()
            self.last = Looked(done, self.last.kept if self.last else 0, rises["retain"], rises["forget"])
        else:
            self._kept = self._weights()
            self.last = Looked(done, done, rises["retain"], rises["forget"])
        return {f"{name}_rise": rise for name, rise in rises.items()}

    def memory(self) -> dict[str, Tensor]:
        """What a resumed run needs: the weights kept, and the last look."""
        if self.last is None:
            return {}
        last = self.last
        record = torch.tensor([last.after, last.kept, last.retain_rise, last.forget_rise], dtype=torch.float64)
        return {_RECORD: record, **{_KEPT + name: value for name, value in self._kept.items()}}

    def remember(self, values: dict[str, Tensor]) -> None:
        """Put `memory()` back."""
        if _RECORD in values:
            after, kept, retain_rise, forget_rise = values[_RECORD].tolist()
            self.last = Looked(int(after), int(kept), retain_rise, forget_rise)
            self._kept = {name: values[_KEPT + name] for name in self._kept}

    def _weights(self) -> dict[str, Tensor]:
        """Of all that may move, on the CPU. No family here has buffers that training moves."""
        moving = {name: weight for name, weight in self._student.named_parameters() if weight.requires_grad}
        return {name: weight.detach().cpu().clone() for name, weight in moving.items()}

    @torch.no_grad()
    def _put_back(self) -> None:
        weights = dict(self._student.named_parameters())
        for name, kept in self._kept.items():
            weights[name].copy_(kept)

    def _losses(self) -> dict[SetName, float]:
        """Of both sets, on every rank as rank 0 found them."""
        assert self._stopping is not None
        found = None
        if self._world.leads:
            sources = {"retain": self._stopping.retain, "forget": self._stopping.forget}
            found = json.dumps({name: self._loss(name, source) for name, source in sources.items()})
        told = self._world.told(found)
        return dict(json.loads(str(told)))

    @torch.no_grad()
    def _loss(self, name: str, source: ImageSource) -> float:
        """The mean own loss of at most `images` images, evenly over the set; an image has the same view every time."""
        assert self._stopping is not None
        count = min(len(source), self._stopping.rule.images)
        total, student = 0.0, self._student.eval()
        for first in range(0, count, _CHUNK_IMAGES):
            rows = torch.arange(first, min(first + _CHUNK_IMAGES, count)) * len(source) // count
            draws = Draws(self._budget.seed, len(rows), first, count, ("stop", name), self._world.device)
            clean = source(rows).to(self._world.device)
            pair = Pair(clean, self._corruption(clean, draws.at("corruption")), rows)
            total += float(student.loss(pair, student.draw_view(pair.corrupted, draws.at("view"))).double().sum())
        student.train()
        return total / count
