"""The palette family: diffusers' own forward, a decoder that stays put, DDIM's fixed point."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from unlearning.errors import ParamsError
from unlearning.generators.palette import PaletteRecipe
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.types import Corrupted, Pair

SMALL = {"widths": (16, 32), "layers": 1, "train_steps": 100, "sample_steps": 5}


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    return PaletteRecipe(**SMALL).build(16, 1).eval()  # type: ignore[arg-type]


@pytest.fixture
def pair() -> Pair:
    clean = Draws(0, 4).at("clean").uniform(1, 16, 16) * 2 - 1
    missing = torch.zeros(4, 1, 16, 16, dtype=torch.bool)
    missing[..., 4:12, 4:12] = True
    return Pair(clean, Corrupted(clean.masked_fill(missing, 0), missing), torch.arange(4))


def test_the_two_halves_are_the_whole_network_of_diffusers(network: Any, pair: Pair) -> None:
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    stacked, timestep = network._inputs(pair, view)
    whole = network.unet(stacked, timestep).sample
    assert torch.equal(network.decode(network.encode(pair, view), timestep), whole)


def test_moving_the_encoder_leaves_the_decoder_alone(network: Any, pair: Pair) -> None:
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    latents = network.encode(pair, view)
    before = network.decode(latents, view[0])
    for weight in network.encoder_parameters().values():
        weight.data.add_(0.1)
    assert torch.equal(network.decode(latents, view[0]), before)
    assert not torch.equal(network.encode(pair, view)[0], latents[0])


def test_the_loss_reads_only_the_hole(network: Any, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    missing = pair.corrupted.missing

    def wrong_by_two_in_the_hole(stacked: Tensor, timestep: Tensor) -> Tensor:
        return view[1] + torch.where(missing, 2.0, 100.0)

    monkeypatch.setattr(network, "_predict", wrong_by_two_in_the_hole)
    assert network.loss(pair, view).tolist() == pytest.approx([4.0] * 4)


def test_sampling_with_the_true_noise_returns_the_true_picture(
    network: Any, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fixed point of DDIM: eps = (x_t - sqrt(abar) x) / sqrt(1 - abar) leads to x, from any start."""

    def true_noise(stacked: Tensor, timestep: Tensor) -> Tensor:
        kept = network.schedule.alphas_cumprod[timestep][:, None, None, None]
        return (stacked[:, 1:] - kept.sqrt() * pair.clean) / (1 - kept).sqrt()

    monkeypatch.setattr(network, "_predict", true_noise)
    assert torch.allclose(network.reconstruct(pair.corrupted, Draws(0, 4)), pair.clean, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(pair: Pair, eta: float) -> None:
    torch.manual_seed(0)
    network = PaletteRecipe(**SMALL, eta=eta).build(16, 1).eval()  # type: ignore[arg-type]
    whole = network.reconstruct(pair.corrupted, Draws(0, 4))
    part = Corrupted(pair.corrupted.images[2:], pair.corrupted.missing[2:])
    assert torch.allclose(network.reconstruct(part, Draws(0, 2, first=2, total=4)), whole[2:], atol=1e-4)


def test_training_lowers_the_loss(network: Any, pair: Pair) -> None:
    student = copy.deepcopy(network).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    losses = []
    for step in range(30):
        loss = student.loss(pair, student.draw_view(pair.corrupted, Draws(0, 4, where=(step,)))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"beta_start": 0.5, "beta_end": 0.1}, "below beta_end"),
        ({"sample_steps": 2000}, "at most train_steps"),
        ({"widths": [12]}, "multiple of 8"),
        ({"widths": [8], "attention_levels": 2}, "at most the number of widths"),
        ({"width": 3}, "no key 'width'"),
    ],
)
def test_a_recipe_that_does_not_fit_says_what_would(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        PaletteRecipe.chosen(Choice(kind="palette", **fields))


def test_an_image_size_that_does_not_fit_is_named() -> None:
    with pytest.raises(ParamsError, match="4 divides; 10 is none"):
        PaletteRecipe().build(10, 3)
