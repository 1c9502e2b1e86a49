"""Means over missing pixels only: what was visible says nothing about what the generator knows."""

from __future__ import annotations

from torch import Tensor

from unlearning.types import Images, Missing


def mean_over_missing(values: Tensor, missing: Missing) -> Tensor:
    """[B, C, H, W] or [B, 1, H, W] -> [B] float64: the mean over channels and missing pixels of each image."""
    weights = missing.expand_as(values).double()
    return (values.double() * weights).flatten(1).sum(1) / weights.flatten(1).sum(1)


def only_missing(images: Images, missing: Missing) -> Images:
    """The same framing on both sides of a comparison: visible pixels become the middle grey, 0."""
    return images.masked_fill(~missing, 0.0)
