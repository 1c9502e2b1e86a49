"""How well a diffusion model knows a picture: its loss at a fixed, stratified set of noise levels.

One timestep and one noise are drawn in each of STRATA equal parts of the schedule, as a function of the place alone, so
two models are asked the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from unlearning.randomness import Draws
from unlearning.types import Missing, PerImage, View

STRATA = 16


def strata(length: int, shape: Sequence[int], draws: Draws) -> Iterator[View]:
    """(t [B] int64, eps [B, *shape]), one in each part of a schedule of `length` steps."""
    for part in range(STRATA):
        here = draws.at("surprise", part)
        timestep = ((part + here.at("timestep").uniform()) * length / STRATA).long().clamp(max=length - 1)
        yield timestep, here.at("noise").normal(*shape)


def gaussian_noise(noised: Tensor, kept: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """The noise that the optimal denoiser of N(mean, diag variance) finds in x_t: E[eps | x_t], [B, c, h, w].

        eps_hat = sigma (x_t - gamma mean) / (gamma^2 variance + sigma^2),  gamma^2 = abar_t,  sigma^2 = 1 - abar_t

    kept   abar_t, [B, 1, 1, 1]
    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, appendix B.3.
    """
    return (1 - kept).sqrt() * (noised - kept.sqrt() * mean) / (kept * variance + 1 - kept)


def error(predicted: Tensor, target: Tensor, missing: Missing) -> PerImage:
    """Squared error, averaged over an image's missing places: [B]."""
    counted = missing.expand_as(predicted).float()
    return ((predicted - target).square() * counted).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3))
