"""The latent family: diffusers' own forward and sampling step, a decoder and a VAE that stay put, a fixed point."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn import functional

from tests import toys
from unlearning.errors import ParamsError
from unlearning.generators.latent import LatentRecipe
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.scopes.all import All
from unlearning.types import Corrupted, Pair

SMALL: dict[str, Any] = {**toys.SMALLEST["latent"], "train_steps": 100, "sample_steps": 5, "context_length": 3}


def _built(**fields: Any) -> Any:
    torch.manual_seed(0)
    network: Any = LatentRecipe(**{**SMALL, **fields}).build(16, 3)
    network.context.normal_()
    return network.eval()


@pytest.fixture
def network() -> Any:
    return _built()


@pytest.fixture
def pair() -> Pair:
    clean = Draws(0, 4).at("clean").uniform(3, 16, 16) * 2 - 1
    missing = torch.zeros(4, 1, 16, 16, dtype=torch.bool)
    missing[..., 4:12, 4:12] = True
    return Pair(clean, Corrupted(clean.masked_fill(missing, 0), missing), torch.arange(4))


def _published_input(network: Any, pair: Pair, noised: Tensor) -> Tensor:
    """StableDiffusionInpaintPipeline.prepare_mask_latents, restated: nearest mask, latents of the greyed picture."""
    mask = functional.interpolate(pair.corrupted.missing.float(), size=(8, 8))
    masked_image = pair.clean * (pair.corrupted.missing.float() < 0.5)
    masked_latents = network.vae.config.scaling_factor * network.vae.encode(masked_image).latent_dist.mode()
    return torch.cat([noised, mask, masked_latents], dim=1)


@pytest.mark.parametrize("options", [{}, {"use_linear_projection": True}, {"upcast_attention": True}])
@torch.no_grad()
def test_the_two_halves_are_the_whole_network_of_diffusers(pair: Pair, options: dict[str, Any]) -> None:
    network = _built(unet=options)
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    schedule = DDIMScheduler(100, 0.00085, 0.012, "scaled_linear")
    latents = network.vae.config.scaling_factor * network.vae.encode(pair.clean).latent_dist.mode()
    stacked = _published_input(network, pair, schedule.add_noise(latents, view[1], view[0]))
    whole = network.unet(stacked, view[0], encoder_hidden_states=network.context.expand(4, -1, -1)).sample
    torch.testing.assert_close(network.decode(network.encode(pair, view), view[0]), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@torch.no_grad()
def test_one_step_of_sampling_is_that_of_diffusers_pipeline(pair: Pair, prediction: str) -> None:
    """The first step of DDIM from noise everywhere, with diffusers' own scheduler and whole network; then the VAE."""
    network = _built(prediction=prediction, sample_steps=1)
    start = Draws(7, 4).at("start").normal(4, 8, 8)
    schedule = DDIMScheduler(
        100,
        0.00085,
        0.012,
        "scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        timestep_spacing="trailing",
    )
    schedule.set_timesteps(1)
    assert schedule.timesteps.tolist() == [99]
    stacked = _published_input(network, pair, schedule.scale_model_input(start, 99))
    predicted = network.unet(stacked, 99, encoder_hidden_states=network.context.expand(4, -1, -1)).sample
    latents = schedule.step(predicted, 99, start, eta=0.0).prev_sample
    picture = network.vae.decode(latents / network.vae.config.scaling_factor).sample.clamp(-1, 1)
    expected = torch.where(pair.corrupted.missing, picture, pair.clean)
    torch.testing.assert_close(network.reconstruct(pair.corrupted, Draws(7, 4)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_diffusers_target_in_the_hole(pair: Pair, prediction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _built(prediction=prediction)
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    schedule = DDIMScheduler(100, 0.00085, 0.012, "scaled_linear")
    latents, _ = network._known(pair)
    velocity = schedule.get_velocity(latents, view[1], view[0])
    target = velocity if prediction == "v_prediction" else view[1]
    hole = network._hole(pair.corrupted.missing)
    wrong_by_two_in_the_hole = target + torch.where(hole, 2.0, 100.0)
    monkeypatch.setattr(network, "decode", lambda maps, timestep: wrong_by_two_in_the_hole)
    assert network.loss(pair, view).tolist() == pytest.approx([4.0] * 4)


def test_sampling_with_the_true_noise_returns_the_true_latents(
    network: Any, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fixed point of DDIM: eps = (z_t - a_t z) / s_t leads to z, from any start; so the VAE's picture stands there."""
    latents, _ = network._known(pair)
    kept = (1 - network.betas).cumprod(0)

    def true_noise(maps: Tensor, timestep: Tensor) -> Tensor:
        share = kept[timestep][:, None, None, None]
        return (maps - share.sqrt() * latents) / (1 - share).sqrt()

    monkeypatch.setattr(network, "_encode", lambda stacked, timestep: stacked[:, :4])
    monkeypatch.setattr(network, "decode", true_noise)
    written = network.vae.decode(latents / network.scaling).sample.clamp(-1, 1)
    expected = torch.where(pair.corrupted.missing, written, pair.clean)
    torch.testing.assert_close(network.reconstruct(pair.corrupted, Draws(0, 4)), expected, atol=1e-3, rtol=1e-3)


def test_moving_the_encoder_leaves_the_decoder_alone(network: Any, pair: Pair) -> None:
    """Its embedding of the time moves too: the way up has one of its own."""
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    latents = network.encode(pair, view)
    before = network.decode(latents, view[0])
    mine = network.encoder_parameters()
    parts = {"conv_in", "time_embedding", "down_blocks", "mid_block"}
    assert {name.split(".")[1] for name in mine} == parts
    with torch.no_grad():
        for weight in mine.values():
            weight.add_(0.1)
    assert torch.equal(network.decode(latents, view[0]), before)
    assert not torch.equal(network.encode(pair, view)[-1], latents[-1])


def test_the_vae_and_the_prompt_are_in_no_scope(network: Any) -> None:
    names = All().parameters(network.requires_grad_(True)).keys()
    assert not [name for name in names if name.startswith(("vae.", "context", "betas", "scaling"))]
    assert not list(network.vae.parameters())
    assert {"vae.quant_conv.weight", "context", "scaling", "betas"} <= network.state_dict().keys()


def test_what_is_known_beforehand_changes_nothing(network: Any, pair: Pair) -> None:
    from unlearning.types import Known

    known = Pair(pair.clean, pair.corrupted, pair.rows, Known(network.constants(pair)))
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    for ask in (network.encode, network.encode_drowned):
        assert all(torch.equal(a, b) for a, b in zip(ask(pair, view), ask(known, view), strict=True))
    assert torch.equal(network.loss(pair, view), network.loss(known, view))


def test_latents_do_not_depend_on_the_precision_around(network: Any, pair: Pair) -> None:
    latents = network.constants(pair)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.constants(pair), latents)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(pair: Pair, eta: float) -> None:
    network = _built(eta=eta)
    whole = network.reconstruct(pair.corrupted, Draws(0, 4))
    part = Corrupted(pair.corrupted.images[2:], pair.corrupted.missing[2:])
    torch.testing.assert_close(network.reconstruct(part, Draws(0, 2, first=2, total=4)), whole[2:], atol=1e-4, rtol=0)


def test_ancestral_sampling_draws_and_ddim_does_not(pair: Pair) -> None:
    """Same start, other noise on the way: DDIM ends in the same picture, ancestral sampling in another."""

    class OtherOnTheWay(Draws):
        def at(self, *where: int | str) -> Draws:
            found = Draws(self.seed, self.rows, where=(*self.where, *where))
            return Draws(99, self.rows, where=found.where) if where[0] == "step" else found

    for eta, same in ((0.0, True), (1.0, False)):
        network = _built(eta=eta)
        pictures = [network.reconstruct(pair.corrupted, kind(0, 4)) for kind in (Draws, OtherOnTheWay)]
        assert torch.equal(*pictures) is same


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


def test_the_preset_is_the_published_network_in_size() -> None:
    """859,535,364 weights in runwayml's in-painting U-Net, 83,653,863 in its VAE."""
    with torch.device("meta"):
        network: Any = LatentRecipe(size="stable_diffusion").build(512, 3)
    assert sum(weight.numel() for weight in network.unet.parameters()) == 859_535_364
    assert sum(buffer.numel() for buffer in network.vae.buffers()) == 83_653_863
    assert network.context.shape == (77, 768)
    assert float(network.vae.config.scaling_factor) == 0.18215


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"beta_start": 0.5, "beta_end": 0.1}, "below beta_end"),
        ({"sample_steps": 2000}, "at most train_steps"),
        ({"heads": [4]}, "as many as widths"),
        ({"widths": [12, 12], "heads": [1, 1]}, "multiple of 8 times its heads"),
        ({"vae_widths": [12]}, "vae_widths must be a multiple of 8"),
        ({"unet": {"class_embed_type": "timestep"}}, "unet holds options of the diffusers network, of these: act_fn"),
        ({"vae": {"shift_factor": 1.0}}, "vae holds options of the diffusers network, of these: act_fn"),
        ({"prediction": "sample"}, "'epsilon' or 'v_prediction'"),
    ],
)
def test_a_recipe_that_does_not_fit_says_what_would(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        LatentRecipe.chosen(Choice.model_validate({"kind": "latent", **fields}))


def test_an_image_size_that_does_not_fit_is_named() -> None:
    with pytest.raises(ParamsError, match="4 divides; 10 is none"):
        LatentRecipe().build(10, 3)
