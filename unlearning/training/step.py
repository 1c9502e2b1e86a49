"""One step: gradients, the scope's mask, the clip, the optimizer. All of its memory can be saved and put back."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unlearning import digests
from unlearning.errors import CheckpointError, ParamsError
from unlearning.params import Budget
from unlearning.randomness import generator
from unlearning.training import gradients
from unlearning.training.gradients import Losses
from unlearning.training.holes import Holes
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.schedule import learning_rate
from unlearning.training.task import Place, Task
from unlearning.types import Drawn


class Step:
    """`step(drawn, number)` moves the student once. What is outside the scope never changes by a bit."""

    def __init__(self, run: Run, world: World) -> None:
        self._run = run
        self._moving = _moving(run)
        place = Place.of(world, run.budget.seed, run.budget.batch_size)
        holes = Holes(run.corruption, run.holes_by_row)
        task = Task(run.student, run.original, run.method, holes, run.prepared_method, place, world.device)
        self._gradients = gradients.of(run.merge, task, self._moving, world, run.budget)
        self._buffers_at_start = {name: _sha256(buffer) for name, buffer in run.student.named_buffers()}
        self._optimizer = _optimizer(list(self._moving.values()), run.budget)
        self._prepared_scope = {name: value.to(world.device) for name, value in run.prepared_scope.items()}

    def __call__(self, drawn: Drawn, number: int) -> tuple[Losses, float]:
        """This rank's losses, and the norm of the gradient before clipping. Raises CheckpointError if not finite."""
        run = self._run
        losses = self._gradients(drawn, number)
        for name, weight in self._moving.items():
            if weight.grad is not None:
                weight.grad = run.scope.mask(name, weight.grad, self._prepared_scope)
        norm = float(nn.utils.clip_grad_norm_(self._moving.values(), run.budget.gradient_clip))
        refuse_not_finite(run.stage, number + 1, {"gradient norm": norm})
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(run.budget, number)
        self._optimizer.step()
        return losses, norm

    def weights_sha256(self) -> str:
        """Of all that moves, as it is now: sha256 of the canonical list of (name, sha256)."""
        return digests.of_value([[name, _sha256(weight)] for name, weight in sorted(self._moving.items())])

    def memory(self) -> dict[str, Tensor]:
        """What changes from step to step: parameters in scope, buffers that moved, and the optimizer's averages."""
        values: dict[str, Tensor] = {f"weight/{name}": weight for name, weight in self._moving.items()}
        values |= {
            f"buffer/{name}": buffer
            for name, buffer in self._run.student.named_buffers()
            if _sha256(buffer) != self._buffers_at_start[name]  # a VQ-GAN's 220 MB never do
        }
        for name, weight in self._moving.items():
            values |= {f"optimizer/{what}/{name}": kept for what, kept in self._optimizer.state.get(weight, {}).items()}
        return {name: value.detach().cpu().contiguous().clone() for name, value in values.items()}

    def remember(self, values: dict[str, Tensor]) -> None:
        """Put `memory()` back."""
        with torch.no_grad():
            for name, weight in self._moving.items():
                weight.copy_(values[f"weight/{name}"])
            for name, buffer in self._run.student.named_buffers():
                buffer.copy_(values.get(f"buffer/{name}", buffer))
        names = {id(weight): name for name, weight in self._moving.items()}
        grouped = [names[id(weight)] for group in self._optimizer.param_groups for weight in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for path, value in values.items():
            room, _, rest = path.partition("/")
            if room == "optimizer":
                what, _, name = rest.partition("/")
                state.setdefault(grouped.index(name), {})[what] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})


def refuse_not_finite(stage: str, number: int, measured: dict[str, float]) -> None:
    """Raise CheckpointError naming the step and the first of the numbers that is not finite."""
    for name, value in measured.items():
        if not math.isfinite(value):
            raise CheckpointError(
                f"{stage}: the {name} is {value} at step {number}; training stopped and the last good state is kept, "
                f"a smaller learning_rate is right"
            )


def _sha256(buffer: Tensor) -> str:
    return digests.of_bytes(buffer.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def _moving(run: Run) -> dict[str, nn.Parameter]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(run.budget.seed, "adapt").initial_seed())  # the same on every rank, at every start
        run.scope.adapt(run.student)
    moving = run.scope.parameters(run.student)
    if not moving:
        raise ParamsError(f"{run.stage}: scope {run.scope.kind!r} leaves nothing to train in this generator")
    run.student.requires_grad_(False)
    for weight in moving.values():
        weight.requires_grad_(True)
    return moving


def _optimizer(moving: list[nn.Parameter], budget: Budget) -> torch.optim.AdamW:
    """AdamW as He et al. 2022 and Li et al. 2024 have it: biases, norms and other vectors do not decay."""
    groups = [
        ([weight for weight in moving if weight.ndim > 1], budget.weight_decay),
        ([weight for weight in moving if weight.ndim <= 1], 0.0),
    ]
    return torch.optim.AdamW(
        [{"params": weights, "weight_decay": decay} for weights, decay in groups if weights],
        lr=budget.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )
