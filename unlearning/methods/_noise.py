"""Pictures of noise, and the two scalars they are drawn by. Images are in [-1, 1]; released code has them in [0, 1]."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

from unlearning.contracts import ImageSource, Prepared
from unlearning.methods._joint import spread
from unlearning.randomness import Draws
from unlearning.types import Batch, Images

Kind: TypeAlias = Literal["forget_statistics", "standard", "batch_statistics", "uniform", "constant"]

_MEASURED_IMAGES = 1_024  # two scalars: a thousand images fix them to less than the noise's own spread


def measured(kind: Kind, forget: ImageSource) -> Prepared:
    """Mean and deviation of the forget images, over all their pixels: [] each; 0 and 1 where they play no part."""
    if kind in ("forget_statistics", "constant"):
        images = torch.cat(list(spread(forget, _MEASURED_IMAGES)))
        return {"mean": images.mean(), "deviation": images.std()}
    return {"mean": torch.tensor(0.0), "deviation": torch.tensor(1.0)}


def measured_now(batch: Batch) -> Prepared:
    """Mean and deviation over all pixels of all rows at hand, forget and retain: [] each."""
    pixels = torch.cat([batch.forget.clean, batch.retain.clean])
    return {"mean": pixels.mean(), "deviation": pixels.std()}


def pictures(kind: Kind, measured: Prepared, draws: Draws, shape: torch.Size) -> Images:
    """[rows of the draws, *shape]."""
    mean, deviation = (measured[name].to(draws.device) for name in ("mean", "deviation"))
    if kind == "uniform":
        return draws.uniform(*shape) * 2 - 1
    if kind == "constant":
        return mean.expand(draws.rows, *shape)
    noise: Images = mean + deviation * draws.normal(*shape)
    return noise if kind == "standard" else noise.clamp(-1, 1)
