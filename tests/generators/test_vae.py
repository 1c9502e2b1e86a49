"""The VAE: closed forms of its terms, a toy whose likelihood is known, what it is told, and what it reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from tests import toys
from unlearning.abilities import Posterior
from unlearning.contracts import Corruption
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.everything import Everything
from unlearning.data.batches import Batches
from unlearning.errors import CheckpointError, ParamsError
from unlearning.generators.vae import VaeRecipe
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.randomness import Draws, generator
from unlearning.recipe import Choice
from unlearning.scopes.all import All
from unlearning.training.step import Step
from unlearning.types import Images, Pair
from unlearning.verbs._kinds import register

register()
MANY = 2_000
PLAIN: dict[str, Any] = {"widths": (8, 16), "latent_channels": 4, "sigma": 1.0}
DIFFUSERS = {**PLAIN, "network": "diffusers"}


def _vae(**fields: Any) -> Any:
    return toys.built(VaeRecipe(**{**PLAIN, **fields})).eval()


def _pair(clean: Images, corruption: Corruption | None = None) -> Pair:
    corrupted = (corruption or Everything())(clean, Draws(0, len(clean)))
    return Pair(clean, corrupted, torch.arange(len(clean)))


def _seen(network: Any, pair: Pair) -> Any:
    return network.seen(torch.cat([pair.corrupted.images, pair.corrupted.missing], 1))


def _random(*shape: int, name: str = "random") -> Tensor:
    return torch.randn(*shape, generator=generator(0, name))


# --- closed forms


def test_terms_of_a_posterior_are_those_of_torch() -> None:
    found = Posterior(_random(5, 2, 3, 3, name="m"), _random(5, 2, 3, 3, name="v"))
    normal = Independent(Normal(found.mean, (0.5 * found.log_variance).exp()), 3)
    prior = Independent(Normal(torch.zeros(2, 3, 3), torch.ones(2, 3, 3)), 3)
    torch.testing.assert_close(found.divergence(), kl_divergence(normal, prior.expand((5,))))
    latent = _random(5, 2, 3, 3, name="z")
    constant = 0.5 * latent[0].numel() * math.log(2 * math.pi)
    torch.testing.assert_close(found.log_density(latent) - constant, normal.log_prob(latent))


def test_a_latent_taken_as_a_draw_of_its_own_has_that_draws_value_and_gradient() -> None:
    noise, (mean, log_variance) = _random(4, 3, name="eps"), (_random(4, 3, name=name) for name in "mv")
    slopes = []
    for how in ("at", "through"):
        moving = Posterior(mean.clone().requires_grad_(), log_variance.clone().requires_grad_())
        drawn = moving.at(noise) if how == "at" else moving.through(moving.at(noise).detach())
        torch.testing.assert_close(drawn, Posterior(mean, log_variance).at(noise))
        slopes.append(torch.autograd.grad(drawn.sin().sum(), [moving.mean, moving.log_variance]))
    for one, two in zip(*slopes, strict=True):
        torch.testing.assert_close(one, two)


def test_the_bound_is_the_density_of_missing_pixels_and_the_divergence_per_missing_number() -> None:
    network, pair = _vae(sigma=0.3, beta=2.0), _pair(toys.pictures("retain", 3), CenterHole())
    with torch.no_grad():
        found = network.posterior(pair)
        latent = found.at(_random(*found.mean.shape))
        drawn = network.decode(latent, _seen(network, pair))
        density = Normal(drawn, 0.3).log_prob(pair.clean)
        hole = pair.corrupted.missing
        counted = hole.flatten(1).sum(1)
        assert (counted < 64).all()
        expected = (2.0 * found.divergence() - (density * hole).flatten(1).sum(1)) / counted
        torch.testing.assert_close(network.bound(pair, found, latent), expected)


class Line:
    """x = W z + mean + sigma eps in 16 pixels, the columns of W at right angles: the posterior is diagonal.

    Probabilistic principal components (Tipping and Bishop, 1999), whose likelihood is N(mean, W W' + sigma^2).
    """

    sigma = 0.5

    def __init__(self, network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directions = torch.linalg.qr(_random(16, 3, name="W"))[0] * torch.tensor([0.5, 1.0, 2.0])
        self.mean = _random(16, name="mean")
        self.wrong = 0.0  # how far q's mean is from the true one's
        monkeypatch.setattr(network, "posterior", self.posterior)
        monkeypatch.setattr(network, "decode", lambda latent, seen: self.drawn(latent))

    def drawn(self, latent: Tensor) -> Images:
        return (latent.flatten(1) @ self.directions.T + self.mean).view(-1, 1, 4, 4)

    def posterior(self, pair: Pair) -> Posterior:
        length = self.directions.square().sum(0) + self.sigma**2
        mean = (pair.clean.flatten(1) - self.mean) @ self.directions / length
        shape = (len(pair), 3, 1, 1)
        spread = (self.sigma**2 / length).log()
        return Posterior((mean + self.wrong).view(shape), spread.expand(len(pair), 3).reshape(shape))

    def minus_log_likelihood(self, images: Images) -> Tensor:
        spread = self.directions @ self.directions.T + self.sigma**2 * torch.eye(16)
        return -MultivariateNormal(self.mean, spread).log_prob(images.flatten(1)) / 16

    def too_much(self) -> float:
        """KL(q | the true posterior), per pixel."""
        length = self.directions.square().sum(0) + self.sigma**2
        return float((0.5 * self.wrong**2 * length / self.sigma**2).sum() / 16)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Line]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = VaeRecipe(widths=(8,), latent_channels=3, sigma=Line.sigma, beta=3.0).build(4, 1).eval()
    return network, Line(network, monkeypatch)


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_surprise_bounds_the_likelihood_and_is_above_it_by_what_the_posterior_is_wrong(
    line: tuple[Any, Line], wrong: float
) -> None:
    """Whatever beta is trained with. With the true posterior the bound is the likelihood, up to the draws of z."""
    network, toy = line
    pair = _pair(toy.drawn(_random(MANY, 3, name="z")) + toy.sigma * _random(MANY, 1, 4, 4, name="pixels"))
    toy.wrong = wrong
    gap = network.surprise(pair, Draws(0, MANY)) - toy.minus_log_likelihood(pair.clean)
    assert gap.mean().item() == pytest.approx(toy.too_much(), abs=4 * float(gap.std()) / math.sqrt(MANY))
    assert float(gap.std()) / math.sqrt(MANY) < 0.02 * (toy.too_much() or 1.0)


def test_surprise_is_a_function_of_the_place_and_steadier_than_the_loss() -> None:
    network, clean = _vae(), toys.pictures("retain", 4)
    pair, seeds = _pair(clean), [Draws(seed, 4) for seed in range(8)]
    whole = network.surprise(pair, seeds[0])
    torch.testing.assert_close(network.surprise(_pair(clean[2:]), Draws(0, 2, first=2, total=4)), whole[2:])
    with torch.no_grad():
        losses = torch.stack([network.loss(pair, network.draw_view(pair.corrupted, draws)) for draws in seeds])
    surprises = torch.stack([network.surprise(pair, draws) for draws in seeds])
    assert bool((surprises.std(0) < losses.std(0) / 2).all())


# --- who knows nothing but pixels


MEAN = toys.pictures("mean", 1)
VARIANCE = toys.pictures("variance", 1).add(1.1) / 4  # from 0.025 to 0.525, another for every pixel


def test_nothing_is_a_gaussian_no_surer_than_the_decoder() -> None:
    pair, draws = _pair(toys.pictures("retain", 3)), Draws(0, 3)
    for sigma in (1e-3, 0.5):
        spread = torch.maximum(VARIANCE, torch.tensor(sigma**2))
        expected = -Normal(MEAN, spread.sqrt()).log_prob(pair.clean).flatten(1).mean(1)
        torch.testing.assert_close(_vae(sigma=sigma).surprise_of_nothing(pair, draws, MEAN, VARIANCE), expected)


def test_without_variance_nothing_is_a_decoder_that_draws_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    network, pair = _vae(sigma=0.2), _pair(toys.pictures("retain", 3))
    empty = torch.zeros(3, 4, 1, 1)
    monkeypatch.setattr(network, "posterior", lambda pair: Posterior(empty, empty))
    monkeypatch.setattr(network, "decode", lambda latent, seen: MEAN.expand(3, -1, -1, -1))
    found = network.surprise_of_nothing(pair, Draws(0, 3), MEAN, torch.zeros_like(MEAN))
    torch.testing.assert_close(found, network.surprise(pair, Draws(0, 3)))


def test_nothing_is_what_a_decoder_with_a_latent_a_pixel_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """mean + sqrt(variance - sigma^2) z with its true posterior: no ELBO that knows pixels alone is better."""
    sigma, clean = 0.1, MEAN + VARIANCE.sqrt() * _random(MANY, 1, 8, 8)
    network, pair = _vae(**{**DIFFUSERS, "widths": (8,), "latent_channels": 1, "sigma": sigma}), _pair(clean)
    slope = (VARIANCE - sigma**2).sqrt()
    known = Posterior(slope * (clean - MEAN) / VARIANCE, (sigma**2 / VARIANCE).log().expand_as(clean))
    monkeypatch.setattr(network, "posterior", lambda pair: known)
    monkeypatch.setattr(network, "decode", lambda latent, seen: MEAN + slope * latent)
    draws = Draws(0, MANY)
    gap = network.surprise(pair, draws) - network.surprise_of_nothing(pair, draws, MEAN, VARIANCE)
    assert abs(gap.mean().item()) < 4 * float(gap.std()) / math.sqrt(MANY)
    assert float(gap.std()) / math.sqrt(MANY) < 1e-3


# --- sigma


def test_a_learnt_sigma_rests_at_the_error_and_never_below_what_eight_bits_can_say() -> None:
    network, pair = _vae(sigma=None), _pair(toys.pictures("retain", 64))
    with torch.no_grad():
        found = network.posterior(pair)
        drawn = network.decode(found.mean, _seen(network, pair))
        error = (drawn - pair.clean).square().mean().sqrt()
        least = math.log(2 / 255 / math.sqrt(12))
        network.noise.fill_(float(torch.log(torch.expm1(error.log() - least)) + least) / 10)
    assert float(network._log_sigma().exp().detach()) == pytest.approx(float(error), rel=1e-4)
    slope = torch.autograd.grad(network.bound(pair, found, found.mean).mean(), network.noise)[0]
    assert abs(float(slope)) < 1e-3
    with torch.no_grad():
        network.noise.fill_(-100.0)
    assert float(network._log_sigma().detach()) == pytest.approx(least)
    assert "noise" not in dict(_vae(sigma=0.1).named_parameters())


# --- training


@pytest.mark.parametrize("fields", [{"sigma": None}, DIFFUSERS], ids=["plain", "diffusers"])
def test_gradients_are_finite_in_half_precision(fields: dict[str, Any]) -> None:
    network, pair = _vae(**fields).train(), _pair(toys.pictures("retain", 4), CenterHole())
    with torch.autocast("cpu", torch.bfloat16):
        loss = network.loss(pair, network.draw_view(pair.corrupted, Draws(0, 4)))
    assert loss.dtype == torch.float32
    loss.sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


def test_learns_digits_in_a_few_steps_better_than_pixel_by_pixel() -> None:
    """Digits that it was not trained on."""
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    digits = toys.Pictures("retain", 1)
    digits.images = images[:1024]
    run = toys.run(
        generator=VaeRecipe(),
        method=NaiveDeletion(),
        scope=All(),
        corruption=Everything(),
        batches=Batches(None, digits, 32, 0),
        batch_size=32,
        steps=120,
        budget={"learning_rate": 5e-3},
    )
    step = Step(run, toys.ALONE)
    for number in range(120):
        step(run.batches(number), number)
    pair, draws, network = _pair(images[-200:]), Draws(0, 200), run.student.eval()
    variance = digits.images.var(0, keepdim=True)
    nothing = network.surprise_of_nothing(
        pair, draws, digits.images.mean(0, keepdim=True), variance.clamp_min(0.1 * float(variance.mean()))
    )
    assert float(network.surprise(pair, draws).mean()) < float(nothing.mean()) - 0.05


# --- what it is told


@pytest.mark.parametrize("fields", [PLAIN, DIFFUSERS], ids=["plain", "diffusers"])
def test_a_picture_is_drawn_of_what_is_visible_and_of_nothing_else(fields: dict[str, Any]) -> None:
    network, pair = _vae(**fields), _pair(toys.pictures("retain", 3), CenterHole())
    hole = pair.corrupted.missing
    view = network.draw_view(pair.corrupted, Draws(0, 3))
    with torch.no_grad():
        drawn = network.draw(pair, view)
        hidden = network.draw(Pair(torch.where(hole, -pair.clean, pair.clean), pair.corrupted, pair.rows), view)
        assert torch.equal(drawn, hidden)
        seen = network.draw(_pair(pair.clean * 0.5, CenterHole()), view)
        other = network.draw(pair, network.draw_view(pair.corrupted, Draws(1, 3)))
    at = hole.expand_as(drawn)
    assert not torch.allclose(drawn[at], seen[at])
    assert not torch.allclose(drawn[at], other[at])


def test_the_posterior_is_told_the_hole_as_well() -> None:
    network, clean = _vae(), toys.pictures("retain", 3)
    one, two = (network.posterior(_pair(clean, corruption)).mean for corruption in (CenterHole(), Everything()))
    assert not torch.allclose(one, two)


# --- published folders and recipes that do not fit


def _published(path: Path, **changes: Any) -> Any:
    torch.manual_seed(1)
    theirs = AutoencoderKL(
        **{
            "in_channels": 3,
            "out_channels": 3,
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "block_out_channels": (8, 16),
            "latent_channels": 4,
            "norm_num_groups": 8,
            **changes,
        }
    )
    theirs.save_pretrained(path)
    return theirs.eval()


def test_a_folder_that_diffusers_saved_computes_the_same(tmp_path: Path) -> None:
    theirs = _published(tmp_path / "vae")
    before = torch.get_rng_state()
    published = VaeRecipe(**DIFFUSERS).build_from(tmp_path / "vae", 8, 3)
    assert torch.equal(before, torch.get_rng_state())
    ours: Any = published.generator
    clean, latent = toys.pictures("retain", 2, 3), _random(2, 4, 4, 4)
    with torch.no_grad():
        found, expected = ours.posterior(_pair(clean, CenterHole())), theirs.encode(clean).latent_dist
        torch.testing.assert_close(found.mean, expected.mean, atol=1e-6, rtol=0)
        torch.testing.assert_close(found.log_variance, expected.logvar, atol=1e-6, rtol=0)
        drawn = ours.draw(_pair(clean), (latent,))
        torch.testing.assert_close(drawn, theirs.decode(latent).sample, atol=1e-6, rtol=0)
    assert (published.layout, published.whole) == ("diffusers AutoencoderKL", True)


def test_the_attention_names_of_older_folders_are_read(tmp_path: Path) -> None:
    for name in ("new", "old"):
        _published(tmp_path / name)
    file = tmp_path / "old" / "diffusion_pytorch_model.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    for after, before in older.items():
        tensors = {name.replace(f".{after}.", f".{before}."): value for name, value in tensors.items()}
    assert any(".query." in name for name in tensors)
    save_file(tensors, file)
    new, old = (
        VaeRecipe(**DIFFUSERS).build_from(tmp_path / name, 8, 3).generator.state_dict() for name in ("new", "old")
    )
    assert all(torch.equal(old[name], value) for name, value in new.items())


def test_what_is_no_such_folder_is_refused(tmp_path: Path) -> None:
    recipe = VaeRecipe(**DIFFUSERS)
    with pytest.raises(CheckpointError, match="no weights in this folder"):
        recipe.build_from(tmp_path, 8, 3)
    _published(tmp_path / "wide", block_out_channels=(8, 24))
    with pytest.raises(CheckpointError, match=r"block_out_channels is \[8, 24\], \(8, 16\) expected"):
        recipe.build_from(tmp_path / "wide", 8, 3)
    _published(tmp_path / "grey", in_channels=1)
    with pytest.raises(CheckpointError, match="in_channels is 1, 3 expected"):
        recipe.build_from(tmp_path / "grey", 8, 3)
    with pytest.raises(CheckpointError, match=r"norm_num_groups is 8, 4 expected \(generator.vae sets it\)"):
        VaeRecipe(**DIFFUSERS, vae={"norm_num_groups": 4}).build_from(tmp_path / "grey", 8, 1)
    config = tmp_path / "wide" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_class_name": "VQModel"}))
    with pytest.raises(CheckpointError, match="AutoencoderKL is right, this is VQModel"):
        recipe.build_from(tmp_path / "wide", 8, 3)
    with pytest.raises(ParamsError, match="sigma: vae does not say how far pixels lie"):
        VaeRecipe(**{**DIFFUSERS, "sigma": None}).build_from(tmp_path / "vae", 8, 3)
    with pytest.raises(CheckpointError, match=r"vae: the plain network .* `network: diffusers` reads a folder"):
        VaeRecipe(**PLAIN).build_from(tmp_path / "vae", 8, 3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"network": "diffusers", "widths": (8, 12)}, "every one of widths must be a multiple of 8"),
        ({"vae": {"act_fn": "silu"}}, "vae holds options of the diffusers network only"),
        ({"network": "diffusers", "vae": {"latent_channels": 3}}, "of these: act_fn"),
        ({"beta": 0}, "'beta' input should be greater than 0"),
    ],
)
def test_a_recipe_that_does_not_fit_says_what_would(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        VaeRecipe.chosen(Choice.model_validate({"kind": "vae", **fields}))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParamsError, match="need an image size that 4 divides; 6 is none"):
        VaeRecipe(widths=(8, 8, 8)).build(6, 1)
