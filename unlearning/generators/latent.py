"""Latent diffusion in-painting: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion", CVPR 2022.

    E_{t, eps} |target - net([z_t, m, z'], t, c)|^2  over the hole m,    target = eps, or v = a_t eps - s_t z
    z = k VAE(x),   z' = k VAE(T(x)),   z_t = a_t z + s_t eps,   a_t^2 = abar_t = 1 - s_t^2

The network is Stable Diffusion's in-painting U-Net (diffusers' UNet2DConditionModel, 9 channels), the VAE diffusers'
AutoencoderKL, k its scaling_factor, c one prompt's embedding. Unlearning never moves VAE and c.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from unlearning.abilities import Diffusing
from unlearning.contracts import Generator, GeneratorRecipe, Published
from unlearning.errors import ParamsError
from unlearning.generators import _latent_layouts, _weights
from unlearning.generators._latent_layouts import UNET_OPTIONS, VAE_OPTIONS
from unlearning.params import Budget

Size = Literal["tiny", "stable_diffusion", "stable_diffusion_2"]

_PUBLISHED: dict[str, Any] = dict(
    widths=(320, 640, 1280, 1280), layers=2, latent_channels=4, vae_widths=(128, 256, 512, 512), vae_layers=2
)
# The published in-painting models of 512 pixels: runwayml's 1.5 and stabilityai's 2. tiny is ours, for 8 to 64 pixels.
_SIZES: dict[Size, dict[str, Any]] = {
    "tiny": {},
    "stable_diffusion": dict(**_PUBLISHED, heads=(8, 8, 8, 8), context_length=77, context_width=768),
    "stable_diffusion_2": dict(
        **_PUBLISHED,
        heads=(5, 10, 20, 20),
        context_length=77,
        context_width=1024,
        unet={"use_linear_projection": True},
    ),
}


class LatentRecipe(GeneratorRecipe, kind="latent"):
    """A U-Net that predicts the noise in the hole of a VAE's latents, given the latents of what is visible."""

    abilities: ClassVar[tuple[type[Generator], ...]] = (Diffusing,)
    layout: ClassVar[str] = "diffusers in-painting pipeline"

    size: Size = Field("tiny", description="preset of the numbers below; any of them may be given beside it")
    widths: tuple[int, ...] = Field((32, 64), min_length=1, description="channels of each U-Net level, finest first")
    layers: int = Field(1, gt=0, description="residual blocks a level of the U-Net")
    heads: tuple[int, ...] = Field(
        (4, 4), description="attention heads of each level; config.json's attention_head_dim"
    )
    context_length: int = Field(1, gt=0, description="tokens of the prompt's embedding; published: 77")
    context_width: int = Field(16, gt=0, description="channels of the prompt's embedding")
    prompt: str = Field(
        "", max_length=300, description="what a published network is told of every picture; empty = the empty prompt"
    )
    latent_channels: int = Field(4, gt=0, description="channels of the VAE's latents")
    vae_widths: tuple[int, ...] = Field(
        (16, 32), min_length=1, description="channels of each VAE level; n levels make latents of 2^(n-1) pixels a side"
    )
    vae_layers: int = Field(1, gt=0, description="residual blocks a level of the VAE")
    unet: dict[str, Any] = Field({}, description="other options of UNet2DConditionModel, as its config.json has them")
    vae: dict[str, Any] = Field({}, description="other options of AutoencoderKL, as its config.json has them")
    vae_steps: int = Field(
        500, ge=0, description="of training the VAE before all else where none is published; 0 leaves it random"
    )
    vae_learning_rate: float = Field(2e-3, gt=0, description="peak of AdamW's learning rate in these steps")
    train_steps: int = Field(1000, gt=1, description="length of the noise schedule")
    beta_start: float = Field(0.00085, gt=0, lt=1, description="a published folder brings its own schedule")
    beta_end: float = Field(0.012, gt=0, lt=1)
    beta_schedule: Literal["scaled_linear", "linear"] = "scaled_linear"
    prediction: Literal["epsilon", "v_prediction"] = Field(
        "epsilon", description="what the network predicts; a published folder says it itself"
    )
    sample_steps: int = Field(50, gt=0, description="denoising steps of a reconstruction")
    eta: float = Field(0.0, ge=0, le=1, description="0 = DDIM (Song et al., ICLR 2021), 1 = ancestral sampling")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        """The recipe as it is kept names every number, whatever the preset was: presets may change, weights do not."""
        if not isinstance(given, dict):
            return given
        return {**_SIZES.get(given.get("size", "tiny"), {}), **given}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.beta_start >= self.beta_end:
            raise ValueError("beta_start must be below beta_end")
        if self.sample_steps > self.train_steps:
            raise ValueError(f"sample_steps must be at most train_steps, {self.train_steps}")
        if len(self.heads) != len(self.widths):
            raise ValueError(f"heads must be as many as widths, {len(self.widths)}")
        if any(width % (8 * heads) for width, heads in zip(self.widths, self.heads, strict=True)):
            raise ValueError("every width must be a multiple of 8 times its heads")
        if any(width % 8 for width in self.vae_widths):
            raise ValueError("every one of vae_widths must be a multiple of 8, for the group norms")
        for name, known in (("unet", UNET_OPTIONS), ("vae", VAE_OPTIONS)):
            if getattr(self, name).keys() - known:
                raise ValueError(f"{name} holds options of the diffusers network, of these: {', '.join(sorted(known))}")
        return self

    @property
    def patch(self) -> int:
        """Pixels a side of what one latent stands for."""
        return int(2 ** (len(self.vae_widths) - 1))

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed, c = 0. Raises ParamsError if the levels do not divide the size."""
        shrunk = self.patch * 2 ** (len(self.widths) - 1)
        if image_size % shrunk:
            raise ParamsError(
                f"generator {self.kind!r}: {len(self.vae_widths)} levels of the VAE and {len(self.widths)} of the "
                f"U-Net need an image size that {shrunk} divides; {image_size} is none"
            )
        from unlearning.generators._latent import Schedule  # diffusers takes seconds to import

        schedule = Schedule(
            self.train_steps,
            (self.beta_start, self.beta_end),
            self.beta_schedule,
            self.prediction,
            self.sample_steps,
            self.eta,
        )
        networks = self._unet(image_size), self._vae(image_size, channels)
        built: Generator = self.network()(*networks, self.context_length, schedule)
        return built

    def network(self) -> Any:
        """The class of the generator."""
        from unlearning.generators._latent import LatentDiffusion  # diffusers takes seconds to import

        return LatentDiffusion

    def first_stage_budget(self, original: Budget) -> Budget | None:
        """The original's, but for steps and speed."""
        return original.of_first_stage(self.vae_steps, self.vae_learning_rate)

    def build_from(self, path: Path, image_size: int, channels: int) -> Published:
        """A pipeline folder of Stable Diffusion: unet, vae, scheduler, and whence the prompt's c.

        Raises CheckpointError for another layout or other sizes, and ParamsError if the sizes do not fit the images.
        """
        with torch.random.fork_rng(devices=[]):
            generator = self.build(image_size, channels)
        found = _latent_layouts.read(path, generator, self.context_length, self.prompt)
        _weights.put(generator, found.tensors, path.name)
        return Published(generator.eval(), self.layout, found.sha256)

    def _unet(self, image_size: int) -> dict[str, Any]:
        """Published: every level but the coarsest attends to the prompt, and the middle does."""
        finer = len(self.widths) - 1
        return {
            "sample_size": image_size // self.patch,
            "in_channels": 2 * self.latent_channels + 1,
            "out_channels": self.latent_channels,
            "block_out_channels": self.widths,
            "layers_per_block": self.layers,
            "down_block_types": ("CrossAttnDownBlock2D",) * finer + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * finer,
            "attention_head_dim": self.heads[0] if len(set(self.heads)) == 1 else self.heads,
            "cross_attention_dim": self.context_width,
            "norm_num_groups": math.gcd(32, *self.widths),
            **self.unet,
        }

    def _vae(self, image_size: int, channels: int) -> dict[str, Any]:
        sizes = image_size, channels, self.vae_widths, self.vae_layers, self.latent_channels
        return {**_latent_layouts.autoencoder(*sizes), **self.vae}
