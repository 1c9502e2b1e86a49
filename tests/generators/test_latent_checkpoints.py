"""Stable Diffusion in-painting folders as diffusers itself writes them: read whole, or refused naming what differs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from torch import Tensor

from tests import toys
from unlearning.errors import CheckpointError
from unlearning.generators.latent import LatentRecipe
from unlearning.randomness import Draws

RECIPE: dict[str, Any] = {**toys.SMALLEST["latent"], "train_steps": 20, "context_length": 3}
CONTEXT = Draws(3, 3).normal(8)


def _folder(folder: Path, ending: str = "safetensors", scheduler: Any = None, **unet: Any) -> Path:
    """What `StableDiffusionInpaintPipeline.save_pretrained` leaves, but for the text's two parts."""
    torch.manual_seed(5)
    safe = ending == "safetensors"
    sizes: dict[str, Any] = {
        "sample_size": 4,
        "in_channels": 9,
        "block_out_channels": (16, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,
        "cross_attention_dim": 8,
        "norm_num_groups": 16,
    }
    UNet2DConditionModel(**{**sizes, **unet}).save_pretrained(folder / "unet", safe_serialization=safe)
    _vae().save_pretrained(folder / "vae", safe_serialization=safe)
    scheduler = scheduler or PNDMScheduler(20, 0.00085, 0.012, "scaled_linear", skip_prk_steps=True, steps_offset=1)
    scheduler.save_pretrained(folder / "scheduler")
    index = {"_class_name": "StableDiffusionInpaintPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    safetensors.torch.save_file({"context": CONTEXT[None]}, folder / "empty_prompt.safetensors")
    return folder


def _vae() -> AutoencoderKL:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(**blocks, block_out_channels=(8, 16), norm_num_groups=8, scaling_factor=0.5)


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_pipeline_folder_is_read_whole(tmp_path: Path, ending: str) -> None:
    folder = _folder(tmp_path / "sd", ending)
    found = LatentRecipe(**RECIPE).build_from(folder, 8, 3)
    network: Any = found.generator
    assert (found.layout, found.whole, len(found.sha256)) == ("diffusers in-painting pipeline", True, 64)
    theirs = UNet2DConditionModel.from_pretrained(folder / "unet", use_safetensors=ending == "safetensors")
    vae = AutoencoderKL.from_pretrained(folder / "vae", use_safetensors=ending == "safetensors")
    for mine, published in ((network.unet, theirs), (network.vae, vae)):
        expected = published.state_dict()
        assert mine.state_dict().keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in mine.state_dict().items())
    assert torch.equal(network.up_time_embedding.linear_1.weight, theirs.time_embedding.linear_1.weight)
    assert torch.equal(network.context, CONTEXT)
    assert network.scaling == 0.5
    pair = toys.pair("retain", channels=3)
    with torch.no_grad():
        view = network.draw_view(pair.corrupted, Draws(0, 4))
        latents = 0.5 * vae.encode(pair.clean).latent_dist.mode()
        visible = 0.5 * vae.encode(pair.corrupted.images).latent_dist.mode()
        noised = DDIMScheduler(20, 0.00085, 0.012, "scaled_linear").add_noise(latents, view[1], view[0])
        stacked = torch.cat([noised, pair.corrupted.missing[:, :, ::2, ::2].float(), visible], dim=1)
        expected = theirs.eval()(stacked, view[0], encoder_hidden_states=CONTEXT.expand(4, -1, -1)).sample
        torch.testing.assert_close(network.decode(network.encode(pair, view), view[0]), expected, atol=1e-5, rtol=1e-5)


def test_the_schedule_and_what_is_predicted_are_the_folders(tmp_path: Path) -> None:
    scheduler = DDIMScheduler(20, 0.001, 0.03, "linear", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    network: Any = LatentRecipe(**RECIPE).build_from(_folder(tmp_path / "sd", scheduler=scheduler), 8, 3).generator
    assert bool(network.predicts_velocity)
    assert torch.equal(network.betas, scheduler.betas)
    assert torch.equal(network.sampler().alphas_cumprod, scheduler.alphas_cumprod)
    assert network.sampler().config.prediction_type == "v_prediction"
    corrupted = toys.pair("retain", channels=3).corrupted
    assert network.reconstruct(corrupted, Draws(0, 4)).isfinite().all()


def test_an_older_vae_has_other_names_for_its_attention(tmp_path: Path) -> None:
    """As runwayml's own folder does."""
    folder, recipe = _folder(tmp_path / "sd"), LatentRecipe(**RECIPE)
    expected = recipe.build_from(folder, 8, 3).generator.state_dict()
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    today = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}

    def old(name: str) -> str:
        for new, former in today.items():
            name = name.replace(new, former)
        return name

    tensors = safetensors.torch.load_file(file)
    renamed = {old(name): value for name, value in tensors.items()}
    assert renamed.keys() != tensors.keys()
    safetensors.torch.save_file(renamed, file)
    made = recipe.build_from(folder, 8, 3).generator.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in made.items())


def test_a_folder_of_another_network_is_refused_naming_the_first_three(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "sd", in_channels=4, cross_attention_dim=16, norm_eps=1e-6, attention_head_dim=4)
    with pytest.raises(CheckpointError) as refusal:
        LatentRecipe(**RECIPE).build_from(folder, 8, 3)
    said = str(refusal.value)
    assert "unet: in_channels is 4, 9 expected" in said
    assert "norm_eps is 1e-06, 1e-05 expected (generator.unet sets it)" in said
    assert "(and 1 more)" in said


def test_weights_that_are_not_the_configs_are_refused_naming_the_first_three(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "sd")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = safetensors.torch.load_file(file)
    names = sorted(tensors)[:4]
    safetensors.torch.save_file({name: value for name, value in tensors.items() if name not in names}, file)
    with pytest.raises(CheckpointError, match=r"is missing.*; .*is missing.*; .*is missing.*\(and 1 more\)"):
        LatentRecipe(**RECIPE).build_from(folder, 8, 3)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("vae/diffusion_pytorch_model.safetensors", "no weights in this folder"),
        ("unet/config.json", "config.json"),
        ("scheduler/scheduler_config.json", "has its noise schedule there"),
        ("empty_prompt.safetensors", "a tensor `context` of 3 tokens is right, or text_encoder and tokenizer"),
    ],
)
def test_what_is_not_in_the_folder_is_named(tmp_path: Path, gone: str, said: str) -> None:
    folder = _folder(tmp_path / "sd")
    (folder / gone).unlink()
    with pytest.raises(CheckpointError, match=said):
        LatentRecipe(**RECIPE).build_from(folder, 8, 3)


def test_a_schedule_that_predicts_pictures_is_refused(tmp_path: Path) -> None:
    scheduler = DDIMScheduler(20, 0.001, 0.03, "linear", prediction_type="sample")
    with pytest.raises(CheckpointError, match="prediction_type is 'sample'; epsilon or v_prediction is right"):
        LatentRecipe(**RECIPE).build_from(_folder(tmp_path / "sd", scheduler=scheduler), 8, 3)


def test_a_schedule_of_another_length_is_refused(tmp_path: Path) -> None:
    scheduler = DDIMScheduler(30, 0.001, 0.03, "linear")
    with pytest.raises(CheckpointError, match=r"betas is \[30\], \[20\] expected"):
        LatentRecipe(**RECIPE).build_from(_folder(tmp_path / "sd", scheduler=scheduler), 8, 3)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a pipeline folder with unet, vae and scheduler is right"):
        LatentRecipe(**RECIPE).build_from(tmp_path / "v1-5-inpainting.ckpt", 8, 3)


def test_the_empty_prompt_is_asked_of_the_text_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`transformers` is not among the packages of the tests: its two classes stand in, and see what they are asked."""
    asked: dict[str, Any] = {}

    class Tokenizer:
        @classmethod
        def from_pretrained(cls, path: Path, **options: Any) -> Tokenizer:
            asked["tokenizer"] = (path.name, options)
            return cls()

        def __call__(self, words: str, **options: Any) -> SimpleNamespace:
            asked["words"] = (words, options["padding"], options["max_length"])
            return SimpleNamespace(input_ids=torch.arange(3)[None])

    class Encoder(torch.nn.Embedding):
        @classmethod
        def from_pretrained(cls, path: Path, **options: Any) -> Encoder:
            asked["encoder"] = (path.name, options)
            encoder = cls(3, 8)
            encoder.load_state_dict({"weight": CONTEXT})
            return encoder

        def forward(self, words: Tensor) -> tuple[Tensor]:  # type: ignore[override]
            return (super().forward(words),)

    library: Any = type(sys)("transformers")
    library.__spec__ = SimpleNamespace()
    library.CLIPTokenizer, library.CLIPTextModel = Tokenizer, Encoder
    monkeypatch.setitem(sys.modules, "transformers", library)
    folder = _folder(tmp_path / "sd")
    (folder / "empty_prompt.safetensors").unlink()
    for part in ("text_encoder", "tokenizer"):
        (folder / part).mkdir()
        (folder / part / "config.json").write_text("{}")
    network: Any = LatentRecipe(**RECIPE).build_from(folder, 8, 3).generator
    assert torch.equal(network.context, CONTEXT)
    assert asked["words"] == ("", "max_length", 3)
    assert asked["tokenizer"] == ("tokenizer", {"local_files_only": True})
    assert asked["encoder"] == ("text_encoder", {"local_files_only": True, "use_safetensors": True})
