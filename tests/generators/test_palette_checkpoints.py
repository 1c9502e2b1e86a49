"""The released Palette's file and diffusers folders: they compute what the published code computes, or are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.nn import functional

from tests import toys
from tests.generators import published
from unlearning import digests
from unlearning.errors import CheckpointError, ParamsError
from unlearning.generators.palette import PaletteRecipe
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.types import Pair

PLAIN: dict[str, Any] = {"widths": (8, 16), "layers": 1, "train_steps": 20, "sample_steps": 3}
# As google/ddpm-* have them.
DDPM: dict[str, Any] = {"freq_shift": 1, "flip_sin_to_cos": False, "downsample_padding": 0, "norm_eps": 1e-6}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return published.saved(tmp_path / "16_Network.pth", published.palette(), None)


@pytest.fixture
def pair() -> Pair:
    return toys.pair("retain", channels=3)


def _folder(folder: Path, ending: str = "safetensors", **changes: Any) -> tuple[Path, UNet2DModel]:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 8}
    network = UNet2DModel(**{"in_channels": 6, "out_channels": 3, **blocks, **sizes, **DDPM, **changes})
    network.save_pretrained(folder, safe_serialization=ending == "safetensors")
    return folder, network


# models/guided_diffusion_modules/unet.py, restated plainly over the file's tensors.


class _Plain:
    def __init__(self) -> None:
        self.w = {name.removeprefix("denoise_fn."): value for name, value in published.palette().items()}

    def conv(self, home: str, x: Tensor, padding: int = 1) -> Tensor:
        return functional.conv2d(x, self.w[f"{home}.weight"], self.w[f"{home}.bias"], padding=padding)

    def norm(self, home: str, x: Tensor) -> Tensor:
        groups = math.gcd(32, x.shape[1])
        return functional.group_norm(x, groups, self.w[f"{home}.weight"], self.w[f"{home}.bias"], 1e-5)

    def linear(self, home: str, x: Tensor) -> Tensor:
        return x @ self.w[f"{home}.weight"].T + self.w[f"{home}.bias"]

    def residual(self, home: str, x: Tensor, emb: Tensor, resize: str = "") -> Tensor:
        h = functional.silu(self.norm(f"{home}.in_layers.0", x))
        if resize == "down":
            h, x = functional.avg_pool2d(h, 2, 2), functional.avg_pool2d(x, 2, 2)
        if resize == "up":
            h, x = (part.repeat_interleave(2, 2).repeat_interleave(2, 3) for part in (h, x))
        h = self.conv(f"{home}.in_layers.2", h)
        scale, shift = self.linear(f"{home}.emb_layers.1", functional.silu(emb))[..., None, None].chunk(2, dim=1)
        h = self.norm(f"{home}.out_layers.0", h) * (1 + scale) + shift
        h = self.conv(f"{home}.out_layers.3", functional.silu(h))
        skip = f"{home}.skip_connection"
        return (self.conv(skip, x, 0) if f"{skip}.weight" in self.w else x) + h

    def attention(self, home: str, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        x = x.reshape(b, c, -1)
        qkv = functional.conv1d(self.norm(f"{home}.norm", x), self.w[f"{home}.qkv.weight"], self.w[f"{home}.qkv.bias"])
        q, k, v = qkv.reshape(b * c // 8, 24, -1).split(8, dim=1)
        weight = torch.einsum("bct,bcs->bts", q / 8**0.25, k / 8**0.25).softmax(-1)
        h = torch.einsum("bts,bcs->bct", weight, v).reshape(b, c, -1)
        h = functional.conv1d(h, self.w[f"{home}.proj_out.weight"], self.w[f"{home}.proj_out.bias"])
        return (x + h).reshape(b, c, height, width)

    def __call__(self, x: Tensor, gamma: Tensor) -> tuple[list[Tensor], Tensor]:
        """The five maps of the way down and the middle, and the predicted noise."""
        rates = torch.exp(-math.log(10000) * torch.arange(4, dtype=torch.float32) / 4)
        emb = torch.cat([(gamma[:, None] * rates).cos(), (gamma[:, None] * rates).sin()], dim=-1)
        emb = self.linear("cond_embed.2", functional.silu(self.linear("cond_embed.0", emb)))
        hs = [self.conv("input_blocks.0.0", x)]
        hs.append(self.residual("input_blocks.1.0", hs[-1], emb))
        hs.append(self.residual("input_blocks.2.0", hs[-1], emb, "down"))
        hs.append(self.attention("input_blocks.3.1", self.residual("input_blocks.3.0", hs[-1], emb)))
        h = self.attention("middle_block.1", self.residual("middle_block.0", hs[-1], emb))
        h = self.residual("middle_block.2", h, emb)
        maps = [*hs, h]
        for number in range(4):
            h = self.residual(f"output_blocks.{number}.0", torch.cat([h, hs.pop()], dim=1), emb)
            if number < 2:
                h = self.attention(f"output_blocks.{number}.1", h)
            if number == 1:
                h = self.residual("output_blocks.1.2", h, emb, "up")
        return maps, self.conv("out.2", functional.silu(self.norm("out.0", h)))


def test_the_released_palette_computes_what_its_code_computes(file: Path, pair: Pair) -> None:
    made = PaletteRecipe(**published.TINY_PALETTE).build_from(file, 8, 3)
    assert (made.layout, made.sha256, made.whole) == ("Palette", digests.of_file(file), True)
    network: Any = made.generator
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    gamma = network.schedule.alphas_cumprod[view[0]]
    missing, shaped = pair.corrupted.missing, gamma[:, None, None, None]
    noised = shaped.sqrt() * pair.clean + (1 - shaped).sqrt() * view[1]
    stacked = torch.cat([torch.where(missing, view[2], pair.clean), torch.where(missing, noised, pair.clean)], dim=1)
    maps, noise = _Plain()(stacked, gamma)
    latents = network.encode(pair, view)
    assert len(latents) == len(maps) == 5
    for mine, theirs in zip(latents, maps, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network.decode(latents, view[0]), noise, atol=1e-4, rtol=1e-4)


def test_the_released_size_has_thirteen_maps_and_attends_in_the_middle_only() -> None:
    """attn_res is 16, which four levels never reach: 1, 2, 4, 8."""
    with torch.device("meta"):
        network = PaletteRecipe(network="guided").build(256, 3)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert {name.split(".")[1] + name.split(".")[2] for name in shapes if ".qkv." in name} == {"middle_block1"}
    assert max(int(name.split(".")[2]) for name in shapes if ".input_blocks." in name) == 11
    assert shapes["denoise_fn.middle_block.1.qkv.weight"] == (1536, 512, 1)
    assert shapes["denoise_fn.output_blocks.0.0.in_layers.2.weight"] == (512, 1024, 3, 3)
    assert shapes["denoise_fn.cond_embed.0.weight"] == (256, 64)
    recipe = PaletteRecipe(network="guided", sample_steps=250)
    assert (recipe.train_steps, recipe.beta_start, recipe.beta_end, recipe.sample_steps) == (2000, 1e-6, 0.01, 250)


def test_moving_the_encoder_leaves_the_decoder_alone(file: Path, pair: Pair) -> None:
    """The embedding of gamma is read by both halves: published, it moves with the encoder."""
    network: Any = PaletteRecipe(**published.TINY_PALETTE).build_from(file, 8, 3).generator
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    latents = network.encode(pair, view)
    before = network.decode(latents, view[0])
    with torch.no_grad():
        for weight in network.encoder_parameters().values():
            weight.add_(0.1)
    assert torch.equal(network.decode(latents, view[0]), before)


def test_a_file_saved_from_several_gpus_is_the_same(file: Path, tmp_path: Path) -> None:
    tensors = {f"module.{name}": value for name, value in published.palette().items()}
    path = published.saved(tmp_path / "ddp.pth", tensors, None)
    recipe = PaletteRecipe(**published.TINY_PALETTE)
    expected = recipe.build_from(file, 8, 3).generator.state_dict()
    made = recipe.build_from(path, 8, 3).generator.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in made.items())


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_diffusers_folder_is_the_same_network(tmp_path: Path, pair: Pair, ending: str) -> None:
    folder, theirs = _folder(tmp_path / "unet", ending)
    made = PaletteRecipe(**PLAIN, unet=DDPM).build_from(folder, 8, 3)
    network: Any = made.generator
    assert made.layout == "diffusers UNet2DModel"
    view = network.draw_view(pair.corrupted, Draws(0, 4))
    stacked, timestep = network._inputs(pair, view)
    with torch.no_grad():
        expected = theirs.eval()(stacked, timestep).sample
        assert torch.equal(network.decode(network.encode(pair, view), timestep), expected)


def test_a_folder_of_another_network_is_refused_naming_what_differs(tmp_path: Path) -> None:
    folder, _ = _folder(tmp_path / "unet", in_channels=3)
    with pytest.raises(CheckpointError) as refusal:
        PaletteRecipe(**PLAIN).build_from(folder, 8, 3)
    assert "in_channels is 3, 6 expected" in str(refusal.value)
    assert "downsample_padding is 0, 1 expected (generator.unet sets it)" in str(refusal.value)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_class_name": "UNet2DConditionModel"}))
    with pytest.raises(CheckpointError, match="UNet2DModel is right, this is UNet2DConditionModel"):
        PaletteRecipe(**PLAIN).build_from(folder, 8, 3)


def test_what_an_older_config_leaves_out_is_diffusers_default(tmp_path: Path) -> None:
    folder, _ = _folder(tmp_path / "unet", norm_eps=1e-5)
    config = json.loads((folder / "config.json").read_text())
    del config["norm_eps"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="norm_eps is 1e-05, 1e-06 expected"):
        PaletteRecipe(**PLAIN, unet=DDPM).build_from(folder, 8, 3)


def test_a_file_of_another_family_is_refused(tmp_path: Path, file: Path) -> None:
    mae = published.saved(tmp_path / "mae.pth", published.mae())
    with pytest.raises(CheckpointError, match="not a Palette network"):
        PaletteRecipe(**published.TINY_PALETTE).build_from(mae, 8, 3)
    with pytest.raises(CheckpointError, match="write `network: guided`"):
        PaletteRecipe(**PLAIN).build_from(file, 8, 3)
    wider = PaletteRecipe(**{**published.TINY_PALETTE, "widths": (16, 16)})
    with pytest.raises(CheckpointError, match=r"denoise_fn\.cond_embed\.0\.weight is \[32, 8\], \[64, 16\] expected"):
        wider.build_from(file, 8, 3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"network": "guided", "widths": [8, 24], "head_width": 16}, "multiples of head_width, 16"),
        ({"network": "guided", "unet": {"norm_eps": 1e-6}}, "of the diffusers network only"),
        ({"unet": {"class_embed_type": "timestep"}}, "of the diffusers network only, and of these: act_fn"),
    ],
)
def test_a_recipe_that_does_not_fit_says_what_would(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        PaletteRecipe.chosen(Choice.model_validate({"kind": "palette", **fields}))
