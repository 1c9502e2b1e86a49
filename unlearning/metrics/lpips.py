"""Perceptual distance: Zhang et al., "The Unreasonable Effectiveness of Deep Features", CVPR 2018, Eq. 1, in the hole.

    d(x, y) = sum over layers l of  mean over missing places (h, w) of  |w_l * (u_l(x)_hw - u_l(y)_hw)|^2

u_l are a network's maps of whole pictures, of unit length over channels at every place: what is visible is the same in
both. A map is coarser than the picture: a place counts
by the share of it that is missing. Published are the w_l of AlexNet, VGG16 and SqueezeNet; w_l^2 stands in the file,
and `LPIPS` is what it comes to with that file over that network. Without it all channels count alike (w_l^2 = 1).
Without any published network the maps are those of the classifier trained in domain, which is no LPIPS. The
extractor's name in the report says which it was.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Compared, Metric
from unlearning.metrics._through import unknown
from unlearning.types import Missing

_TINY = 1e-10  # as published: a place of zeros has no direction


class Lpips(Metric, kind="lpips"):
    """0 = seen alike at every depth."""

    reads = "layers"

    extractor: Literal["perceptual", "torchvision", "in_domain"] = Field(
        "perceptual",
        description="whose maps; perceptual = a torchvision network (AlexNet, VGG16, SqueezeNet, ResNet) where its "
        "weights are on this machine, else a classifier trained on the data set",
    )

    @property
    def name(self) -> str:
        """Its kind; kind_extractor where one is named."""
        return self.kind if self.extractor == "perceptual" else f"{self.kind}_{self.extractor}"

    def through(self) -> str:
        """The extractor."""
        return self.extractor

    def __call__(self, compared: Compared) -> Tensor:
        """[B] float64."""
        seen = compared.features.get(self.extractor)
        if seen is None or seen.layers is None:
            return unknown(len(compared.truth))
        layers, total = seen.layers, torch.zeros(len(compared.truth), dtype=torch.float64)
        for place, (truth, generated) in enumerate(zip(layers.truth, layers.generated, strict=True)):
            squared = (_unit(truth) - _unit(generated)).square()  # [B, C, h, w]
            if layers.weights is not None:
                squared = squared * layers.weights[place].double()[:, None, None]
            shares = _shares(compared.missing, squared)
            total += (squared.sum(1, keepdim=True) * shares).flatten(1).sum(1) / shares.flatten(1).sum(1)
        return total


def _unit(maps: Tensor) -> Tensor:
    maps = maps.double()
    return maps / (maps.square().sum(1, keepdim=True).sqrt() + _TINY)


def _shares(missing: Missing, maps: Tensor) -> Tensor:
    """[B, 1, h, w] float64: how much of each place of a map is missing."""
    return F.adaptive_avg_pool2d(missing.double(), (maps.shape[2], maps.shape[3]))
