"""Stable Diffusion without a hole: diffusers' own network, folder and prompt; noise and velocity; and its methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tests import toys
from unlearning.contracts import Preparation
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.everything import Everything
from unlearning.errors import CheckpointError
from unlearning.generators.stable_diffusion import StableDiffusionRecipe
from unlearning.methods.erasediff import EraseDiffTarget
from unlearning.methods.retrack import Retrack
from unlearning.methods.siss import Siss
from unlearning.randomness import Draws
from unlearning.types import Batch, Known, Pair

RECIPE: dict[str, Any] = {**toys.SMALLEST["stable_diffusion"], "train_steps": 20, "context_length": 5}


def _built(**fields: Any) -> Any:
    torch.manual_seed(0)
    network: Any = StableDiffusionRecipe(**{**RECIPE, **fields}).build(8, 1)
    network.context.normal_()
    return network.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `StableDiffusionPipeline.save_pretrained` leaves, the text's two parts included."""
    torch.manual_seed(5)
    path = tmp_path / "sd"
    network = UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(16, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=8,
        norm_num_groups=16,
    )
    network.save_pretrained(path / "unet")
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    sizes = {"block_out_channels": (8, 16), "norm_num_groups": 8, "in_channels": 1, "out_channels": 1}
    AutoencoderKL(**blocks, **sizes).save_pretrained(path / "vae")
    DDIMScheduler(20, 0.00085, 0.012, "scaled_linear").save_pretrained(path / "scheduler")
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    _text(path)
    return path


def _text(path: Path) -> None:
    """A tokenizer of whole letters and a text encoder of one layer, in the published layout."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (path / "words").mkdir()
    (path / "words" / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (path / "words" / "merges.txt").write_text("#version: 0.2\n")
    names = (str(path / "words" / name) for name in ("vocab.json", "merges.txt"))
    CLIPTokenizer(*names, model_max_length=5).save_pretrained(path / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=5,
        bos_token_id=0,
        eos_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(path / "text_encoder")


@torch.no_grad()
def test_a_folder_is_read_whole_with_the_prompt_it_is_given(folder: Path) -> None:
    recipe = StableDiffusionRecipe(**{**RECIPE, "beta_end": 0.012, "prompt": "a cat"})
    found = recipe.build_from(folder, 8, 1)
    network: Any = found.generator
    assert (found.layout, found.whole) == ("diffusers text-to-image pipeline", True)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    words = tokenizer("a cat", padding="max_length", max_length=5, truncation=True, return_tensors="pt")
    context = CLIPTextModel.from_pretrained(folder / "text_encoder")(words.input_ids)[0]
    torch.testing.assert_close(network.context, context[0])
    empty: Any = StableDiffusionRecipe(**{**RECIPE, "beta_end": 0.012}).build_from(folder, 8, 1).generator
    assert not torch.equal(empty.context, network.context)
    theirs = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
    noised, timestep = Draws(0, 4).normal(4, 4, 4), torch.tensor([0, 3, 11, 19])
    expected = theirs(noised, timestep, encoder_hidden_states=context.expand(4, -1, -1)).sample
    torch.testing.assert_close(network.predict(noised, timestep), expected, atol=1e-5, rtol=1e-5)


def test_a_prompt_needs_its_text_encoder(folder: Path) -> None:
    for part in (folder / "text_encoder").iterdir():
        part.unlink()
    (folder / "text_encoder").rmdir()
    with pytest.raises(CheckpointError, match="nothing says what the prompt 'a cat' is to this network; text_encoder"):
        StableDiffusionRecipe(**{**RECIPE, "beta_end": 0.012, "prompt": "a cat"}).build_from(folder, 8, 1)


def test_an_in_painting_network_is_another_family(folder: Path) -> None:
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "in_channels": 9}))
    with pytest.raises(CheckpointError, match="unet: in_channels is 9, 4 expected"):
        StableDiffusionRecipe(**{**RECIPE, "beta_end": 0.012}).build_from(folder, 8, 1)


@torch.no_grad()
def test_noise_is_found_in_what_a_network_of_velocity_says() -> None:
    """At the truth v = a eps - s z, a^2 v + ... comes back as eps; so `predict` is exact where the network is."""
    network = _built(prediction="v_prediction")
    pair = toys.pair("retain", corruption=Everything())
    timestep, noise = network.draw_view(pair.corrupted, Draws(0, 4))
    clean = network.signal(pair)
    kept = network.abar[timestep].view(-1, 1, 1, 1)
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    network.decode = lambda latents, timestep: velocity
    noised = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    torch.testing.assert_close(network.predict(noised, timestep), noise, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_one_that_knows_a_gaussian_is_as_surprised_as_nothing(prediction: str) -> None:
    """The network's place taken by the optimal denoiser of the latents' own mean and variance."""
    network = _built(prediction=prediction)
    pair = toys.pair("retain", corruption=Everything())
    mean, variance = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.2)
    m, v = network._of_nothing(mean, variance)

    def optimal(latents: Any, timestep: torch.Tensor) -> torch.Tensor:
        noised, kept = latents, network.abar[timestep].view(-1, 1, 1, 1)
        noise = (1 - kept).sqrt() * (noised - kept.sqrt() * m) / (kept * v + 1 - kept)
        return noise if prediction == "epsilon" else (noise - (1 - kept).sqrt() * noised) / kept.sqrt()

    network._encode, network.decode = lambda stacked, timestep: stacked, optimal
    found = network.surprise(pair, Draws(0, 4))
    torch.testing.assert_close(found, network.surprise_of_nothing(pair, Draws(0, 4), mean, variance))


@torch.no_grad()
def test_what_is_visible_leads_and_comes_back() -> None:
    network, pair = _built(), toys.pair("retain", corruption=CenterHole())
    drawn = network.reconstruct(pair.corrupted, Draws(0, 4))
    visible = ~pair.corrupted.missing
    assert torch.equal(drawn[visible], pair.clean[visible])
    other = toys.pair("forget", corruption=CenterHole())
    hole = pair.corrupted.missing
    assert not torch.equal(network.reconstruct(other.corrupted, Draws(0, 4))[hole], drawn[hole])  # it was seen


@pytest.mark.parametrize("method", [Siss(), Siss(passes=2), EraseDiffTarget(inner_steps=1), Retrack(neighbours=2)])
def test_methods_forget_in_latents_and_known_ones_change_nothing(method: Any) -> None:
    network, draws = _built().requires_grad_(True), Draws(0, 4)
    batch = Batch(toys.pair("forget", corruption=Everything()), toys.pair("retain", corruption=Everything()))
    sources = toys.Pictures("forget", 4), toys.Pictures("retain", 8)
    prepared = method.prepare(Preparation(network, *sources, Everything(), draws, torch.device("cpu")))
    terms = method.terms(network, network, batch, draws, prepared)
    slopes = torch.autograd.grad(terms.forget.mean() + terms.retain.mean(), list(network.unet.parameters()))
    assert all(slope.isfinite().all() for slope in slopes)
    assert any((slope != 0).any() for slope in slopes)

    def known(pair: Pair) -> Pair:
        return Pair(pair.clean, pair.corrupted, pair.rows, Known(network.constants(pair)))

    again = method.terms(network, network, Batch(known(batch.forget), known(batch.retain)), draws, prepared)
    torch.testing.assert_close((again.forget, again.retain), (terms.forget, terms.retain))
