"""What methods with two voices share: both sets in one pass, the distance of two encodings, and rows to measure."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unlearning.contracts import Generator, ImageSource
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Latents, PerImage, Terms, View, joined_view

_CHUNK_IMAGES = 64  # measured at once: memory, not the result, depends on it


def view_of(student: Generator, batch: Batch, draws: Draws) -> View:
    """The view of forget and retain rows along one batch, forget first."""
    return joined_view(
        student.draw_view(batch.forget.corrupted, draws.at("view", "forget")),
        student.draw_view(batch.retain.corrupted, draws.at("view", "retain")),
    )


def terms_of(per_image: PerImage, batch: Batch) -> Terms:
    """[F + R] -> ([F], [R])."""
    return Terms(forget=per_image[: len(batch.forget)], retain=per_image[len(batch.forget) :])


def distance(moved: Latents, target: Latents) -> PerImage:
    """Squared L2, averaged over tokens and channels of a map, summed over maps: [B]."""
    maps = [_squared(a, b) for a, b in zip(moved, target, strict=True)]
    return torch.stack(maps).sum(dim=0)


def spread(source: ImageSource, most: int) -> Iterator[Images]:
    """At most `most` images in chunks, evenly over the set: a manifest sorted by class is no bias."""
    count = min(len(source), most)
    rows = torch.arange(count) * len(source) // count
    for start in range(0, count, _CHUNK_IMAGES):
        yield source(rows[start : start + _CHUNK_IMAGES])


def _squared(moved: Tensor, target: Tensor) -> PerImage:
    return (moved.float() - target.float()).square().flatten(1).mean(dim=1)
