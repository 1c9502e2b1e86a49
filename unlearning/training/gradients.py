"""The gradient of one step, over the batch of all ranks, left in `.grad`.

Joint: one forward, one backward, averaged by DistributedDataParallel. Apart: one gradient a voice, each averaged over
ranks before the merge sees it. A budget with a `chunk` takes the batch in parts and adds their gradients up: the same
gradient, in less memory, for every method that looks at images one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unlearning.contracts import Merge, Voice
from unlearning.params import Budget
from unlearning.training.parallel import World
from unlearning.training.task import Task
from unlearning.types import Drawn, PerImage, Terms

Losses: TypeAlias = dict[str, Tensor]  # this rank's mean losses [], by voice; `loss` is what the step minimises
StepGradients: TypeAlias = Callable[[Drawn, int], Losses]


def of(merge: Merge, task: Task, moving: dict[str, nn.Parameter], world: World, budget: Budget) -> StepGradients:
    """How this merge takes its gradients: called once a step with what was read from disk."""
    kind = _Apart if merge.apart else _Joint
    return kind(merge, task, list(moving.values()), world, budget)


class _Joint:
    """For merges that are linear in the two mean losses, so that averaging over ranks or parts and merging commute."""

    def __init__(self, merge: Merge, task: Task, moving: list[nn.Parameter], world: World, budget: Budget) -> None:
        self._merge, self._moving, self._chunk = merge, moving, budget.chunk
        self._autocast = autocast(world, budget.precision)
        self._model: nn.Module = task
        if world.size > 1:
            # A scope may hold weights that a method never reaches (the decoder, under an encoder's distance).
            self._model = DistributedDataParallel(task, broadcast_buffers=False, find_unused_parameters=True)

    def __call__(self, drawn: Drawn, step: int) -> Losses:
        for weight in self._moving:
            weight.grad = None
        losses: Losses = {}
        for skipped, part, share, last in _parts(drawn, self._chunk):
            with self._averaged(last):
                with self._autocast:
                    terms: Terms = self._model(part, step, skipped)
                forget, retain = _mean(terms.forget), _mean(terms.retain)
                loss = self._merge.loss(forget, retain)
                _shared(loss, share).backward()  # type: ignore[no-untyped-call]
            losses = _added(losses, _losses(terms, forget, retain, loss), share)
        return losses

    def _averaged(self, last: bool) -> AbstractContextManager[None]:
        """Ranks speak to each other once a step, with the last part."""
        if last or not isinstance(self._model, DistributedDataParallel):
            return nullcontext()
        silence: AbstractContextManager[None] = self._model.no_sync()
        return silence


class _Apart:
    """Two backward passes over one forward; the merge sees each gradient over the whole batch."""

    def __init__(self, merge: Merge, task: Task, moving: list[nn.Parameter], world: World, budget: Budget) -> None:
        self._merge, self._task, self._moving, self._world = merge, task, moving, world
        self._chunk = budget.chunk
        self._autocast = autocast(world, budget.precision)

    def __call__(self, drawn: Drawn, step: int) -> Losses:
        losses: Losses = {}
        found: list[list[Tensor | None]] = [[None] * len(self._moving) for _ in range(2)]
        for skipped, piece, share, _ in _parts(drawn, self._chunk):
            with self._autocast:
                terms: Terms = self._task(piece, step, skipped)
            forget, retain = _mean(terms.forget), _mean(terms.retain)
            for voice, loss in enumerate((forget, retain)):
                here = self._gradient(_shared(loss, share), last=voice == 1)
                found[voice] = [_sum(whole, part) for whole, part in zip(found[voice], here, strict=True)]
            losses = _added(losses, _losses(terms, forget, retain, forget + retain), share)
        voices = [self._voice(losses.get(name), part) for name, part in zip(("forget", "retain"), found, strict=True)]
        merged = self._merge.gradient(*voices)
        for weight, gradient, *parts in zip(self._moving, merged, *found, strict=True):
            silent = all(part is None for part in parts)
            weight.grad = None if silent else gradient  # as after backward: what no voice reaches does not move
        return losses

    def _gradient(self, loss: Tensor, last: bool) -> list[Tensor | None]:
        if not loss.requires_grad:
            return [None] * len(self._moving)
        return list(torch.autograd.grad(loss, self._moving, retain_graph=not last, allow_unused=True))

    def _voice(self, loss: Tensor | None, gradient: list[Tensor | None]) -> Voice:
        whole = [
            torch.zeros_like(weight) if part is None else part
            for weight, part in zip(self._moving, gradient, strict=True)
        ]
        mean, *rest = self._world.mean([torch.zeros((), device=self._world.device) if loss is None else loss, *whole])
        return Voice(mean, rest)


def _parts(drawn: Drawn, chunk: int | None) -> Iterator[tuple[int, Drawn, float, bool]]:
    """(rows before it, the part, its share of the rows, whether it is the last)."""
    rows = len(drawn)
    size = rows if chunk is None else min(chunk, rows)
    for first in range(0, rows, size):
        end = min(first + size, rows)
        yield first, drawn.part(slice(first, end)), (end - first) / rows, end == rows


def _shared(loss: Tensor, share: float) -> Tensor:
    return loss if share == 1 else loss * share


def _added(losses: Losses, part: Losses, share: float) -> Losses:
    return {name: losses.get(name, 0.0) + _shared(value, share) for name, value in part.items()}


def _sum(whole: Tensor | None, part: Tensor | None) -> Tensor | None:
    return part if whole is None else whole if part is None else whole + part


def autocast(world: World, precision: str) -> torch.autocast:
    """What a forward pass runs in."""
    return torch.autocast(world.device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _mean(term: PerImage) -> Tensor:
    """[]; an absent voice is 0, and has no gradient."""
    return term.float().mean() if len(term) else term.new_zeros(())


def _losses(terms: Terms, forget: Tensor, retain: Tensor, loss: Tensor) -> Losses:
    """Of the voices that spoke."""
    losses = {"forget": forget} if len(terms.forget) else {}
    losses |= {"retain": retain} if len(terms.retain) else {}
    return {name: value.detach() for name, value in {**losses, "loss": loss}.items()}
