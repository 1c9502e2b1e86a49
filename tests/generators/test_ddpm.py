"""The ddpm family: the published loss, DDIM's fixed point, pictures completed, and folders that diffusers has saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests import toys
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.everything import Everything
from unlearning.data.batches import Batches
from unlearning.errors import CheckpointError, ParamsError
from unlearning.generators.ddpm import DdpmRecipe
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.scopes.all import All
from unlearning.training.step import Step
from unlearning.verbs import _kinds

# As google/ddpm-* have them.
PUBLISHED: dict[str, Any] = {
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "downsample_padding": 0,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}
PLAIN: dict[str, Any] = {"widths": (8, 16), "train_steps": 20, "sample_steps": 4, "unet": PUBLISHED}
BLOCKS = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}


@pytest.fixture
def network() -> Any:
    return toys.built(DdpmRecipe(widths=(8, 16), train_steps=100, sample_steps=10)).eval()


def _unet(**changes: Any) -> UNet2DModel:
    torch.manual_seed(0)
    sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 8}
    return UNet2DModel(**{"in_channels": 3, "out_channels": 3, **BLOCKS, **sizes, **PUBLISHED, **changes})


def _pipeline(folder: Path, safe: bool = True, scheduler: Any = None, **changes: Any) -> UNet2DModel:
    network = _unet(**changes)
    pipeline = DDPMPipeline(network, scheduler or DDPMScheduler(num_train_timesteps=20))
    pipeline.save_pretrained(folder, safe_serialization=safe)
    return network


def test_the_loss_is_the_published_one_where_everything_is_missing(network: Any) -> None:
    pair = toys.pair("retain", corruption=Everything())
    timestep, noise = network.draw_view(pair.corrupted, Draws(0, 4))
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 100), 0)[timestep].view(4, 1, 1, 1)
    predicted = network.unet(kept.sqrt() * pair.clean + (1 - kept).sqrt() * noise, timestep).sample
    expected = (predicted - noise).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(network.loss(pair, (timestep, noise)), expected, atol=1e-5, rtol=1e-5)


def test_the_encoder_is_the_first_half_of_diffusers_forward(network: Any) -> None:
    pair, seen = toys.pair("retain"), list[Tensor]()
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    maps = network.encode(pair, view)
    network.unet.mid_block.register_forward_hook(lambda _, __, made: seen.append(made))
    network.loss(pair, view)
    assert torch.equal(maps[-1], seen[0])


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_who_knows_the_picture_draws_it(network: Any, eta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """eps_theta(m, t) = (m - gamma x) / sigma leads from any noise to x."""
    pair = toys.pair("retain", corruption=Everything())

    def told(noised: Tensor, timestep: Tensor) -> Tensor:
        kept: Tensor = network.abar[timestep].view(-1, 1, 1, 1)
        return (noised - kept.sqrt() * pair.clean) / (1 - kept).sqrt()

    monkeypatch.setattr(network, "predict", told)
    monkeypatch.setattr(network, "eta", eta)
    torch.testing.assert_close(network.reconstruct(pair.corrupted, Draws(0, 4)), pair.clean, atol=1e-4, rtol=0)


def test_what_is_drawn_of_nothing_depends_on_the_draws_and_on_no_picture(network: Any) -> None:
    shown = [Everything()(toys.pictures(name, 4), Draws(0, 4)) for name in ("retain", "other")]
    first, second = (network.reconstruct(corrupted, Draws(0, 4)) for corrupted in shown)
    assert torch.equal(first, second)
    assert not torch.allclose(first, network.reconstruct(shown[0], Draws(1, 4)))


def test_what_is_visible_leads_at_the_noise_of_each_step(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, shown = toys.pair("retain", corruption=CenterHole()), list[tuple[Tensor, Tensor]]()
    predict = network.predict

    def watched(noised: Tensor, timestep: Tensor) -> Tensor:
        shown.append((noised, timestep))
        noise: Tensor = predict(noised, timestep)
        return noise

    monkeypatch.setattr(network, "predict", watched)
    drawn = network.reconstruct(pair.corrupted, Draws(0, 4))
    seen = ~pair.corrupted.missing
    assert len(shown) == 10
    for noised, timestep in shown:
        kept = network.abar[timestep].view(-1, 1, 1, 1)
        noise = (noised - kept.sqrt() * pair.clean) / (1 - kept).sqrt()
        torch.testing.assert_close(noise[seen], Draws(0, 4).at("start").normal(1, 8, 8)[seen], atol=1e-3, rtol=0)
    other = pair.corrupted.of(-pair.clean)
    assert not torch.allclose(network.reconstruct(other, Draws(0, 4))[~seen], drawn[~seen])


def test_learns_digits_in_a_few_steps() -> None:
    from sklearn.datasets import load_digits

    digits = toys.Pictures("retain", 1)
    digits.images = torch.from_numpy(load_digits().images[:256]).float()[:, None] / 8 - 1
    recipe = DdpmRecipe(widths=(16, 32), attention_levels=0)
    run = toys.run(
        generator=recipe,
        method=NaiveDeletion(),
        scope=All(),
        corruption=Everything(),
        batches=Batches(None, digits, 32, 0),
        batch_size=32,
        steps=40,
        budget={"learning_rate": 5e-3},
    )
    step = Step(run, toys.ALONE)
    losses = [float(step(run.batches(number), number)[0]["loss"]) for number in range(40)]
    assert sum(losses[-10:]) / 10 < 0.5  # who predicts no noise at all has 1


@pytest.mark.parametrize("safe", [True, False])
def test_a_pipeline_that_diffusers_saved_computes_the_same(tmp_path: Path, safe: bool) -> None:
    theirs = _pipeline(tmp_path / "pipeline", safe=safe)
    published = DdpmRecipe(**PLAIN).build_from(tmp_path / "pipeline", 8, 3)
    noised, timestep = toys.pictures("retain", 2, 3), torch.tensor([3, 17])
    assert published.layout == "diffusers DDPMPipeline"
    ours: Any = published.generator
    torch.testing.assert_close(ours.predict(noised, timestep), theirs(noised, timestep).sample, atol=1e-6, rtol=0)


def test_a_network_alone_is_read_with_the_recipes_noise(tmp_path: Path) -> None:
    _unet().save_pretrained(tmp_path / "unet")
    published = DdpmRecipe(**PLAIN).build_from(tmp_path / "unet", 8, 3)
    assert published.layout == "diffusers UNet2DModel"


def test_another_schedule_is_another_published_model(tmp_path: Path) -> None:
    """Its sha256 covers what the noise was, not the weights alone."""
    folders = tmp_path / "ddpm", tmp_path / "ddim"
    _pipeline(folders[0])
    scheduler = DDIMScheduler(num_train_timesteps=20, clip_sample=False)
    DDIMPipeline(_unet(), scheduler).save_pretrained(folders[1])
    first, second = (DdpmRecipe(**PLAIN).build_from(folder, 8, 3) for folder in folders)
    assert first.sha256 != second.sha256
    assert second.layout == "diffusers DDIMPipeline"


def test_the_attention_names_of_older_folders_are_read(tmp_path: Path) -> None:
    _pipeline(tmp_path / "new")
    _pipeline(tmp_path / "old")
    file = tmp_path / "old" / "unet" / "diffusion_pytorch_model.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    for after, before in older.items():
        tensors = {name.replace(f".{after}.", f".{before}."): value for name, value in tensors.items()}
    assert any(".query." in name for name in tensors)
    save_file(tensors, file)
    new, old = (DdpmRecipe(**PLAIN).build_from(tmp_path / name, 8, 3).generator.state_dict() for name in ("new", "old"))
    assert all(torch.equal(old[name], value) for name, value in new.items())


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        (DDPMScheduler(num_train_timesteps=30), "num_train_timesteps is 30, 20 expected"),
        (DDPMScheduler(20, prediction_type="v_prediction"), "prediction_type is 'v_prediction', 'epsilon' expected"),
        (DDPMScheduler(20, beta_schedule="squaredcos_cap_v2"), "beta_schedule is 'squaredcos_cap_v2'"),
    ],
)
def test_other_noise_than_the_recipes_is_refused(tmp_path: Path, scheduler: Any, said: str) -> None:
    _pipeline(tmp_path / "pipeline", scheduler=scheduler)
    with pytest.raises(CheckpointError, match=f"scheduler_config.json: not the noise schedule of the recipe: .*{said}"):
        DdpmRecipe(**PLAIN).build_from(tmp_path / "pipeline", 8, 3)


def test_another_network_than_the_recipes_is_refused(tmp_path: Path) -> None:
    _pipeline(tmp_path / "wide", block_out_channels=(8, 24))
    with pytest.raises(CheckpointError, match=r"block_out_channels is \[8, 24\], \(8, 16\) expected"):
        DdpmRecipe(**PLAIN).build_from(tmp_path / "wide", 8, 3)
    _pipeline(tmp_path / "classes", num_class_embeds=10)
    with pytest.raises(CheckpointError, match="num_class_embeds is 10, None expected"):
        DdpmRecipe(**PLAIN).build_from(tmp_path / "classes", 8, 3)
    skipping = {"down_block_types": ["SkipDownBlock2D", "AttnSkipDownBlock2D"]}
    config = tmp_path / "wide" / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **skipping}))
    with pytest.raises(CheckpointError, match="block 'SkipDownBlock2D' is of a network this family does not read"):
        DdpmRecipe(**PLAIN).build_from(tmp_path / "wide", 8, 3)


def test_what_is_no_diffusers_folder_is_refused(tmp_path: Path) -> None:
    recipe = DdpmRecipe(**PLAIN)
    with pytest.raises(CheckpointError, match="not a folder; one that diffusers' DDPMPipeline or UNet2DModel has"):
        recipe.build_from(tmp_path / "weights.pth", 8, 3)
    with pytest.raises(CheckpointError, match="no weights in this folder"):
        recipe.build_from(tmp_path, 8, 3)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(CheckpointError, match="DDPMPipeline or DDIMPipeline is right, this is 'StableDiffusionP"):
        recipe.build_from(tmp_path, 8, 3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"beta_start": 0.5, "beta_end": 0.1}, "beta_start must be below beta_end"),
        ({"sample_steps": 2000}, "at most train_steps, 1000"),
        ({"attention_levels": 3}, "at most the number of widths, 2"),
        ({"unet": {"class_embed_type": "timestep"}}, "unet holds options of these: act_fn"),
    ],
)
def test_a_recipe_that_does_not_fit_says_what_would(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        DdpmRecipe.chosen(Choice.model_validate({"kind": "ddpm", **fields}))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParamsError, match="need an image size that 4 divides; 6 is none"):
        DdpmRecipe(widths=(8, 8, 8)).build(6, 1)
    with pytest.raises(ParamsError, match="diffusers builds no UNet2DModel of these fields"):
        DdpmRecipe(unet={"down_block_types": ("Unknown", "DownBlock2D")}).build(8, 1)


def test_who_is_shown_something_takes_more_than_nothing_and_who_is_told_nothing_only_that(repository: Path) -> None:
    def check(generator: str, corruption: str) -> None:
        chosen = {"generator": {"kind": generator}, "corruption": {"kind": corruption}}
        _kinds.check(Params.read(repository / "params.yaml", chosen))

    check("ddpm", "everything")
    check("ddpm", "center_hole")
    with pytest.raises(ParamsError, match=r"reads only what is wholly visible; of the generators palette, .*takes it"):
        check("ddpm", "downsample")
    with pytest.raises(ParamsError, match=r"of the generators ddpm, palette, .*takes it"):
        check("mae", "everything")
