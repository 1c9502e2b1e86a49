"""How well a diffusion model knows a whole picture: closed forms of a Gaussian, and views that are the same for all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests import toys
from unlearning.corruptions.everything import Everything
from unlearning.generators.ddpm import DdpmRecipe
from unlearning.randomness import Draws, generator
from unlearning.types import Images, Pair

MEAN = toys.pictures("mean", 1)
VARIANCE = toys.pictures("variance", 1).add(1.1) / 4  # from 0.025 to 0.525, another for every pixel
MANY = 400


@pytest.fixture
def network() -> Any:
    return toys.built(DdpmRecipe(widths=(8,), attention_levels=0, train_steps=200, beta_end=0.1)).eval()


def _pair(clean: Images) -> Pair:
    return Pair(clean, Everything()(clean, Draws(0, len(clean))), torch.arange(len(clean)))


def _gaussian(count: int, mean: Tensor, variance: Tensor) -> Images:
    draws = torch.randn(count, *mean.shape[1:], generator=generator(0, "gaussian"))
    return mean + variance.sqrt() * draws


def _expected(network: Any, variance: Tensor) -> float:
    """E |eps_hat - eps|^2 of who knows the Gaussian: gamma^2 v / (gamma^2 v + sigma^2), over all timesteps."""
    kept = network.abar.view(-1, 1, 1, 1)
    return float((kept * variance / (kept * variance + 1 - kept)).mean())


def test_who_knows_the_gaussian_is_as_surprised_by_it_as_the_closed_form_says(network: Any) -> None:
    pair = _pair(_gaussian(MANY, MEAN, VARIANCE))
    found = network.surprise_of_nothing(pair, Draws(0, MANY), MEAN, VARIANCE)
    assert found.shape == (MANY,)
    assert found.mean().item() == pytest.approx(_expected(network, VARIANCE), rel=0.02)


def test_without_variance_the_mean_picture_itself_is_no_surprise(network: Any) -> None:
    pair = _pair(MEAN.expand(3, -1, -1, -1))
    found = network.surprise_of_nothing(pair, Draws(0, 3), MEAN, torch.zeros_like(MEAN))
    torch.testing.assert_close(found, torch.zeros(3), atol=1e-6, rtol=0)


def test_at_variance_one_what_is_predicted_is_what_is_seen(network: Any) -> None:
    """gamma^2 + sigma^2 = 1: eps_hat = sigma x_t, whose error against eps is gamma^2 in the mean."""
    pair = _pair(_gaussian(MANY, torch.zeros_like(MEAN), torch.ones_like(MEAN)))
    found = network.surprise_of_nothing(pair, Draws(1, MANY), torch.zeros_like(MEAN), torch.ones_like(MEAN))
    assert found.mean().item() == pytest.approx(float(network.abar.mean()), rel=0.02)


def test_a_network_is_asked_under_the_very_views_that_nothing_is(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that computes eps_hat is as surprised, image by image."""

    def knows(noised: Images, timestep: Tensor) -> Images:
        kept = network.abar[timestep].view(-1, 1, 1, 1)
        return (1 - kept).sqrt() * (noised - kept.sqrt() * MEAN) / (kept * VARIANCE + 1 - kept)

    monkeypatch.setattr(network, "predict", knows)
    pair, draws = _pair(toys.pictures("retain", 5)), Draws(2, 5)
    expected = network.surprise_of_nothing(pair, draws, MEAN, VARIANCE)
    torch.testing.assert_close(network.surprise(pair, draws), expected)


def test_surprise_is_a_function_of_the_place_and_steadier_than_the_loss(network: Any) -> None:
    pair = _pair(toys.pictures("retain", 4))
    whole = network.surprise(pair, Draws(0, 4))
    second = Pair(pair.clean[2:], Everything()(pair.clean[2:], Draws(0, 2)), pair.rows[2:])
    torch.testing.assert_close(network.surprise(second, Draws(0, 2, first=2, total=4)), whole[2:])
    seeds = [Draws(seed, 4) for seed in range(12)]
    surprises = torch.stack([network.surprise(pair, draws) for draws in seeds])
    losses = torch.stack([network.loss(pair, network.draw_view(pair.corrupted, draws)) for draws in seeds])
    assert bool((surprises.std(0) < losses.detach().std(0) / 2).all())
