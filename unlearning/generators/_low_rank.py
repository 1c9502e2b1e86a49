"""Adapters over a frozen backbone: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.

    y = x W0^T + b + x (U V)^T,   V [rank, in] drawn, U [out, rank] = 0 before the first step

Every weight of the backbone becomes a buffer, as all that never trains: what is left to train are U and V, so a state
of training holds nothing else, and what a member learnt of its images is in them alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from unlearning.contracts import Generator
from unlearning.errors import ParamsError


class LowRank(nn.Module):
    """A linear layer that is frozen, and two thin factors that are not. [..., in] -> [..., out]."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, frozen: nn.Linear, rank: int) -> None:
        super().__init__()
        self.register_buffer("weight", frozen.weight.detach().clone())
        self.register_buffer("bias", None if frozen.bias is None else frozen.bias.detach().clone())
        self.down = nn.Parameter(torch.randn(rank, frozen.in_features) / frozen.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(frozen.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """The frozen layer's answer, and the adapter's."""
        thin = functional.linear(functional.linear(x, self.down), self.up)
        return functional.linear(x, self.weight, self.bias) + thin


def adapt(generator: Generator, rank: int) -> Generator:
    """The same generator, adapters from torch's global seed beside every linear layer, and nothing else free.

    Raises ParamsError where there is no linear layer, or statistics of batches, which no freezing keeps still.
    """
    modules = dict(generator.named_modules())
    linear = [name for name, module in modules.items() if type(module) is nn.Linear]
    if not linear or any(isinstance(module, _BatchNorm) for module in modules.values()):
        raise ParamsError(
            "generator.adapters: adapters stand beside linear layers, over a backbone without batch norm; a family "
            "that has the ones and not the other is right"
        )
    for name in linear:
        parent, _, last = name.rpartition(".")
        setattr(modules[parent], last, LowRank(modules[name], rank))  # a Linear, see above
    for module in generator.modules():
        if not isinstance(module, LowRank):
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach().clone())
    return generator
