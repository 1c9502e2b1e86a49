"""The noun: a frozen network, what it makes of pictures, and what a table must say about it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearning.types import Images


@dataclass(frozen=True, slots=True)
class Extractor:
    """A frozen network [B, C, H, W] in [-1, 1] -> features [B, F], with what a table must say about it."""

    name: str
    weights_sha256: str
    network: nn.Module
    device: torch.device
    head: nn.Module | None = None  # features [B, F] float32 -> logits [B, K], where it classifies
    depths: nn.Module | None = None  # images -> a tuple of maps [B, C, h, w], where it is looked into
    channel_weights: tuple[Tensor, ...] | None = None  # of each map's channels [C], where they are published

    @torch.inference_mode()
    def __call__(self, images: Images) -> Tensor:
        """[B, F] float64 on the CPU."""
        features: Tensor = self.network(images.to(self.device))
        return features.double().cpu()

    @torch.inference_mode()
    def probabilities(self, features: Tensor) -> Tensor | None:
        """The classes [B, K] float64 that it sees in features that it made; None where it has no head."""
        if self.head is None:
            return None
        logits: Tensor = self.head(features.float().to(self.device))
        return logits.double().softmax(1).cpu()

    @torch.inference_mode()
    def maps(self, images: Images) -> tuple[Tensor, ...]:
        """What it sees at several depths, each [B, C, h, w] float32 on the CPU; empty where it is not looked into."""
        if self.depths is None:
            return ()
        return tuple(found.float().cpu() for found in self.depths(images.to(self.device)))


def as_rgb(images: Images) -> Images:
    """Grey pictures as colour ones: [B, 3, H, W]."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
