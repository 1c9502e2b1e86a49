"""The gradient of one step, over the batch of all ranks, left in `.grad`.

Joint: one forward, one backward, averaged by DistributedDataParallel. Apart: one gradient a voice, each averaged over
ranks before the merge sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unlearning.contracts import Merge, Voice
from unlearning.training.parallel import World
from unlearning.training.task import Task
from unlearning.types import Drawn, PerImage, Terms

Losses: TypeAlias = dict[str, Tensor]  # this rank's mean losses [], by voice; `loss` is what the step minimises
StepGradients: TypeAlias = Callable[[Drawn, int], Losses]


def of(merge: Merge, task: Task, moving: dict[str, nn.Parameter], world: World, precision: str) -> StepGradients:
    """How this merge takes its gradients: called once a step with what was read from disk."""
    kind = _Apart if merge.apart else _Joint
    return kind(merge, task, list(moving.values()), world, precision)


class _Joint:
    """For merges that are linear in the two mean losses, so that averaging over ranks and merging commute."""

    def __init__(self, merge: Merge, task: Task, moving: list[nn.Parameter], world: World, precision: str) -> None:
        self._merge, self._moving = merge, moving
        self._autocast = _autocast(world, precision)
        self._model: nn.Module = task
        if world.size > 1:
            # A scope may hold weights that a method never reaches (the decoder, under an encoder's distance).
            self._model = DistributedDataParallel(task, broadcast_buffers=False, find_unused_parameters=True)

    def __call__(self, drawn: Drawn, step: int) -> Losses:
        for weight in self._moving:
            weight.grad = None
        with self._autocast:
            terms: Terms = self._model(drawn, step)
        forget, retain = _mean(terms.forget), _mean(terms.retain)
        loss = self._merge.loss(forget, retain)
        loss.backward()  # type: ignore[no-untyped-call]
        return _losses(terms, forget, retain, loss)


class _Apart:
    """Two backward passes over one forward; the merge sees each gradient over the whole batch."""

    def __init__(self, merge: Merge, task: Task, moving: list[nn.Parameter], world: World, precision: str) -> None:
        self._merge, self._task, self._moving, self._world = merge, task, moving, world
        self._autocast = _autocast(world, precision)

    def __call__(self, drawn: Drawn, step: int) -> Losses:
        with self._autocast:
            terms: Terms = self._task(drawn, step)
        forget, retain = _mean(terms.forget), _mean(terms.retain)
        found = [self._gradient(forget, last=False), self._gradient(retain, last=True)]
        merged = self._merge.gradient(self._voice(forget, found[0]), self._voice(retain, found[1]))
        for weight, gradient, *parts in zip(self._moving, merged, *found, strict=True):
            silent = all(part is None for part in parts)
            weight.grad = None if silent else gradient  # as after backward: what no voice reaches does not move
        return _losses(terms, forget, retain, forget + retain)

    def _gradient(self, loss: Tensor, last: bool) -> list[Tensor | None]:
        if not loss.requires_grad:
            return [None] * len(self._moving)
        return list(torch.autograd.grad(loss, self._moving, retain_graph=not last, allow_unused=True))

    def _voice(self, loss: Tensor, gradient: list[Tensor | None]) -> Voice:
        whole = [
            torch.zeros_like(weight) if part is None else part
            for weight, part in zip(self._moving, gradient, strict=True)
        ]
        mean, *rest = self._world.mean([loss.detach(), *whole])
        return Voice(mean, rest)


def _autocast(world: World, precision: str) -> torch.autocast:
    return torch.autocast(world.device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _mean(term: PerImage) -> Tensor:
    """[]; an absent voice is 0, and has no gradient."""
    return term.float().mean() if len(term) else term.new_zeros(())


def _losses(terms: Terms, forget: Tensor, retain: Tensor, loss: Tensor) -> Losses:
    """Of the voices that spoke."""
    losses = {"forget": forget} if len(terms.forget) else {}
    losses |= {"retain": retain} if len(terms.retain) else {}
    return {name: value.detach() for name, value in {**losses, "loss": loss}.items()}
