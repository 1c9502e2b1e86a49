"""How a model's weights moved in training: their mean and variance over snapshots, beside the checkpoint.

    m_k = m_{k-1} + (theta_k - m_{k-1}) / k,   S_k = S_{k-1} + (theta_k - m_{k-1}) (theta_k - m_k),   v = S_K / (K - 1)

Welford's recurrence, so that no snapshot is kept. A method that never sees the training data again takes the variance
for how free a weight is (VDU, 2025).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unlearning.params import Budget
from unlearning.training import checkpoint

FILE = "snapshots.safetensors"
_MEAN, _SQUARES = "snapshots/mean/", "snapshots/squares/"


class Snapshots:
    """The recurrence over `budget.snapshots` looks, evenly over the last half of the steps; the last step is one."""

    def __init__(self, student: nn.Module, budget: Budget) -> None:
        self._weights = dict(student.named_parameters())
        late = budget.steps - budget.steps // 2
        self._looks = [budget.steps - late * left // budget.snapshots for left in reversed(range(budget.snapshots))]
        self._values: dict[str, Tensor] = {}

    def look(self, done: int) -> None:
        """Take the weights after `done` steps in, if it is time to."""
        if done not in self._looks:
            return
        count = self._looks.index(done) + 1
        for name, weight in self._weights.items():
            here = weight.detach().float().cpu()
            before = self._values.get(_MEAN + name, torch.zeros_like(here))
            mean = before + (here - before) / count
            squares = self._values.get(_SQUARES + name, torch.zeros_like(here))
            self._values[_MEAN + name] = mean
            self._values[_SQUARES + name] = squares + (here - before) * (here - mean)

    def memory(self) -> dict[str, Tensor]:
        """What there is so far; empty before the first look."""
        return dict(self._values)

    def remember(self, values: dict[str, Tensor]) -> None:
        """Put `memory()` back."""
        self._values = {name: value for name, value in values.items() if name.startswith((_MEAN, _SQUARES))}


def write(folder: Path, values: dict[str, Tensor], looks: int) -> dict[str, Any]:
    """The file beside a checkpoint, and the facts that name it; nothing where there were no looks."""
    if not values:
        return {}
    variances = {name.removeprefix(_SQUARES): value / (looks - 1) for name, value in values.items() if _SQUARES in name}
    written = {f"mean/{name}": values[_MEAN + name] for name in variances}
    written |= {f"variance/{name}": value for name, value in variances.items()}
    return {"snapshots": {"looks": looks, "sha256": checkpoint.write_tensors(folder / FILE, written)}}


def read(folder: Path) -> dict[str, Tensor] | None:
    """The variance of every weight by name; None if none was kept. Raises CheckpointError if the file is damaged."""
    named = checkpoint.describe(folder)["facts"].get("snapshots")
    if named is None:
        return None
    values = checkpoint.read_tensors(folder / FILE, named["sha256"])
    return {name.removeprefix("variance/"): value for name, value in values.items() if name.startswith("variance/")}
