"""Random weights in the exact layout of pytorch-fid's Inception file: what its own command line loads as published."""

from __future__ import annotations

import math
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from unlearning.randomness import generator


def random_state() -> dict[str, Tensor]:
    """A state dict whose activations neither vanish nor grow, and whose batch normalisations do something."""
    from pytorch_fid import inception

    with (
        torch.random.fork_rng(),
        mock.patch.object(inception, "load_state_dict_from_url", return_value={}),
        mock.patch.object(nn.Module, "load_state_dict", return_value=None),
    ):
        network = inception.fid_inception_v3()
    return {name: _drawn(name, value) for name, value in network.state_dict().items()}


def write(path: Path) -> Path:
    """The file, below whatever folder it is to lie in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(random_state(), path)
    return path


def _drawn(name: str, like: Tensor) -> Tensor:
    rng = generator(0, name)
    if name.endswith("num_batches_tracked"):
        return like
    if name.endswith("running_var"):
        return torch.rand(like.shape, generator=rng) + 0.5
    if like.ndim > 1:  # He's deviation: a ReLU halves the variance
        return torch.randn(like.shape, generator=rng) * math.sqrt(2 / like[0].numel())
    return torch.randn(like.shape, generator=rng) * 0.1 + (1.0 if name.endswith("bn.weight") else 0.0)
