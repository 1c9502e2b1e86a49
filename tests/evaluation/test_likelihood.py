"""The probability-flow ODE where the answer is known: a Gaussian, whose score is linear."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unlearning.abilities import Denoising
from unlearning.metrics._likelihood import Bits, bits_per_dimension
from unlearning.randomness import Draws, generator
from unlearning.types import Images

SIDE, MANY = 3, 6
SIZE = SIDE * SIDE


class Gaussian(Denoising):
    """The exact eps of N(mean, covariance) at every timestep of DDPM's linear schedule."""

    def __init__(self, mean: Tensor, covariance: Tensor, timesteps: int = 1000) -> None:
        super().__init__()
        self.mean, (self.values, self.vectors) = mean, torch.linalg.eigh(covariance)
        self.register_buffer("abar", torch.cumprod(1 - torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64), 0))
        self.asked = 0

    def predict(self, noised: Images, timestep: Tensor) -> Tensor:
        self.asked += 1
        kept = self.abar[timestep][:, None].to(noised.dtype)  # [B, 1]
        away = (noised.flatten(1) - kept.sqrt() * self.mean) @ self.vectors
        return ((1 - kept).sqrt() * away / (kept * self.values + 1 - kept) @ self.vectors.T).view_as(noised)

    def bits(self, images: Images) -> Tensor:
        """Of the Gaussian under the schedule's first noise, [B]."""
        noise = (1 - self.abar[0]) / self.abar[0]
        covariance = self.vectors @ torch.diag(self.values + noise) @ self.vectors.T
        density = torch.distributions.MultivariateNormal(self.mean, covariance)
        return -density.log_prob(images.flatten(1)) / (SIZE * math.log(2))

    draw_view = encode = loss = reconstruct = encoder_parameters = None  # type: ignore[assignment]  # never asked


DIAGONAL = torch.linspace(0.02, 1.5, SIZE, dtype=torch.float64)
MEAN = torch.linspace(-0.5, 0.5, SIZE, dtype=torch.float64)


def _pictures(wide: float = 1.0) -> Images:
    noise = torch.randn(MANY, SIZE, generator=generator(0, "pictures"), dtype=torch.float64)
    return (MEAN + wide * DIAGONAL.sqrt() * noise).view(MANY, 1, SIDE, SIDE)


def _bits(model: Denoising, images: Images, probes: int = 2, steps: int = 50) -> Bits:
    return bits_per_dimension(model, images, Draws(0, len(images)), probes, steps)


@pytest.mark.parametrize(("wide", "within", "closer"), [(1.0, 0.02, 0.005), (2.0, 0.05, 0.02)])
def test_the_bits_of_a_gaussian_are_its_own_and_every_probe_agrees_on_a_diagonal(
    wide: float, within: float, closer: float
) -> None:
    """v' J v is the trace itself where J is diagonal, whatever the signs: no error over probes, only of the steps."""
    model = Gaussian(MEAN, torch.diag(DIAGONAL))
    found = _bits(model, _pictures(wide))
    torch.testing.assert_close(found.value, model.bits(_pictures(wide)), atol=within, rtol=0)
    torch.testing.assert_close(found.standard_error, torch.zeros(MANY, dtype=torch.float64), atol=1e-9, rtol=0)
    finer = _bits(model, _pictures(wide), steps=100).value
    torch.testing.assert_close(finer, model.bits(_pictures(wide)), atol=closer, rtol=0)


def test_of_correlated_pixels_the_probes_err_by_about_what_they_say() -> None:
    rotation, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator(1), dtype=torch.float64))
    model = Gaussian(MEAN, rotation @ torch.diag(DIAGONAL) @ rotation.T)
    found = _bits(model, _pictures(), probes=64)
    wrong = (found.value - model.bits(_pictures())).abs()
    assert bool((found.standard_error > 1e-3).all())
    assert bool((wrong < 4 * found.standard_error + 0.01).all())
    fewer = _bits(model, _pictures(), probes=4)
    assert fewer.standard_error.mean() > 2 * found.standard_error.mean()


def test_single_precision_and_a_single_probe_change_no_more_than_rounding() -> None:
    exact = _bits(Gaussian(MEAN, torch.diag(DIAGONAL)), _pictures())
    found = _bits(Gaussian(MEAN.float(), torch.diag(DIAGONAL.float())), _pictures().float(), probes=1)
    torch.testing.assert_close(found.value, exact.value, atol=1e-4, rtol=0)
    assert bool(found.standard_error.isnan().all())


def test_no_timestep_is_asked_twice_and_a_short_schedule_is_walked_whole() -> None:
    model = Gaussian(MEAN, torch.diag(DIAGONAL), timesteps=7)
    _bits(model, _pictures(), steps=100)
    assert model.asked == 7 + 6  # each once with its divergence, each but the first once ahead
