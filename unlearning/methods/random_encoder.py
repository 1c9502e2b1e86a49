"""Random encoder, a baseline of Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024.

    min_E  E_r |E(T(x_r)) - E0(T(x_r))|^2  +  alpha E_f |E(T(x_f)) - z|^2,   z ~ N(mu, s)

mu and s are the mean and deviation of E0(T(x_r)), two scalars a latent map. The released code takes them from the
batch and, by a sign error, gives the forget images no loss at all and pulls the retain images to z; here the forget
images are loud in the forget term only, and mu and s are measured once, so that they depend neither on the batch nor
on the number of processes. z is new at every step, so the student learns its mean: the forget term cannot fall below
s^2. Only the encoder moves (scope `encoder`); alpha is the merge's `forget_weight`, search 0.05 to 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.methods._joint import along_batch, distance, kept, spread, terms_of, views_of
from unlearning.randomness import Draws
from unlearning.types import Batch, Corrupted, Latents, Pair, Terms, joined_view


class RandomEncoder(Method, kind="random_encoder"):
    """Move the encoding of every forget image onto noise drawn in the space of encodings."""

    uses_targets: ClassVar[bool] = True

    measured_images: int = Field(
        256, ge=1, description="retain images whose encodings fix the noise's mean and deviation; not worth a search"
    )

    def prepare(self, given: Preparation) -> Prepared:
        """Mean and deviation of every latent map of the original, over images, tokens and channels: [maps] each."""
        moments = [
            torch.stack([_moments(part) for part in _encoded(given, images.to(given.device), number)])
            for number, images in enumerate(spread(given.retain, self.measured_images))
        ]
        count, first, second = torch.stack(moments).sum(dim=0).unbind(dim=1)  # [maps] each
        mean = first / count
        deviation = (second / count - mean.square()).clamp(min=0).sqrt()
        return {"mean": mean.float(), "deviation": deviation.float()}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets, one of the original over the retain rows."""
        views = views_of(student, batch, draws)
        moved = student.encode(batch.forget.joined(batch.retain), joined_view(*views))
        same = kept(original, batch.retain, views[1])
        target = _targets(len(batch.forget), same, draws.at("latents"), prepared)
        return terms_of(distance(moved, target), batch)


def _targets(forget: int, same: Latents, draws: Draws, prepared: Prepared) -> Latents:
    """z for `forget` rows, then the original's maps of the retain rows."""
    if not forget:
        return same
    noise = tuple(
        mean + deviation * draws.at(level).normal(*part.shape[1:])
        for level, (part, mean, deviation) in enumerate(zip(same, prepared["mean"], prepared["deviation"], strict=True))
    )
    return along_batch(noise, tuple(part.float() for part in same))


@torch.no_grad()
def _encoded(given: Preparation, images: Tensor, number: int) -> Latents:
    """E0(T(x)) of the chunk `number`."""
    draws = replace(given.draws, rows=len(images), first=0, total=None).at("measured", number)
    corrupted: Corrupted = given.corruption(images, draws.at("corruption"))
    pair = Pair(images, corrupted, torch.arange(len(images)))
    return given.original.encode(pair, given.original.draw_view(corrupted, draws.at("view")))


def _moments(part: Tensor) -> Tensor:
    """How many numbers, their sum and their squares': [3] float64."""
    whole = part.double()
    return torch.stack([whole.new_tensor(float(whole.numel())), whole.sum(), whole.square().sum()])
