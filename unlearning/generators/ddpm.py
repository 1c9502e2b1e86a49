"""Unconditional diffusion: Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS 2020.

    E_{t, eps} |eps - eps_theta(x_t, t)|^2,   x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps

The network is diffusers' UNet2DModel, the schedules are diffusers'. Nothing is shown to it, so the corruption it is
trained under is `everything`. Under a hole it completes the picture without being trained for it: what is visible is
put back at every step, noised as much as the step is (Song et al., ICLR 2021; Lugmayr et al., "RePaint", CVPR 2022,
without their resampling).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from unlearning.abilities import Denoising, Diffusing, Scoring
from unlearning.contracts import Generator, GeneratorRecipe, Published
from unlearning.errors import ParamsError
from unlearning.generators import _ddpm_layouts, _weights


class DdpmRecipe(GeneratorRecipe, kind="ddpm"):
    """A U-Net that predicts the noise in a noised picture, and draws pictures from noise alone."""

    abilities: ClassVar[tuple[type[Generator], ...]] = (Denoising, Diffusing, Scoring)

    widths: tuple[int, ...] = Field((32, 64), min_length=1, description="channels of each level, finest first")
    layers: int = Field(1, gt=0, description="residual blocks a level")
    attention_levels: int = Field(1, ge=0, description="how many of the coarsest levels attend; the middle always does")
    head_width: int = Field(8, gt=0, description="channels of an attention head")
    unet: dict[str, Any] = Field({}, description="other options of diffusers' UNet2DModel, as its config.json has them")
    train_steps: int = Field(1000, gt=1, description="length of the noise schedule")
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = Field(
        "linear", description="how beta goes from start to end; squaredcos_cap_v2 has its own ends"
    )
    sample_steps: int = Field(50, gt=0, description="denoising steps of a picture")
    eta: float = Field(0.0, ge=0, le=1, description="0 = DDIM (Song et al., ICLR 2021), 1 = ancestral, as DDPM")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.beta_start >= self.beta_end:
            raise ValueError("beta_start must be below beta_end")
        if self.sample_steps > self.train_steps:
            raise ValueError(f"sample_steps must be at most train_steps, {self.train_steps}")
        if self.attention_levels > len(self.widths):
            raise ValueError(f"attention_levels must be at most the number of widths, {len(self.widths)}")
        unknown = self.unet.keys() - _ddpm_layouts.OPTIONS
        if unknown:
            raise ValueError(f"unet holds options of these: {', '.join(sorted(_ddpm_layouts.OPTIONS))}")
        return self

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed. Raises ParamsError if the sizes do not fit."""
        shrunk = 2 ** (len(self.widths) - 1)
        if image_size % shrunk:
            raise ParamsError(
                f"generator 'ddpm': {len(self.widths)} levels need an image size that {shrunk} divides; "
                f"{image_size} is none"
            )
        from unlearning.generators._ddpm import Schedule, UnconditionalDiffusion  # diffusers takes seconds to import

        plain = len(self.widths) - self.attention_levels
        chosen = {
            "sample_size": image_size,
            "in_channels": channels,
            "out_channels": channels,
            "block_out_channels": self.widths,
            "layers_per_block": self.layers,
            "down_block_types": ("DownBlock2D",) * plain + ("AttnDownBlock2D",) * self.attention_levels,
            "up_block_types": ("AttnUpBlock2D",) * self.attention_levels + ("UpBlock2D",) * plain,
            "attention_head_dim": self.head_width,
            "norm_num_groups": math.gcd(32, *self.widths),
            **self.unet,
        }
        schedule = Schedule(
            self.train_steps, (self.beta_start, self.beta_end), self.beta_schedule, self.sample_steps, self.eta
        )
        try:
            return UnconditionalDiffusion(chosen, schedule)
        except (ValueError, TypeError, AttributeError) as error:  # as diffusers and torch say that options do not fit
            said = " ".join(str(error).split())[:160]
            raise ParamsError(f"generator 'ddpm': diffusers builds no UNet2DModel of these fields: {said}") from None

    def build_from(self, path: Path, image_size: int, channels: int) -> Published:
        """A diffusers DDPMPipeline or DDIMPipeline folder, or the folder of its UNet2DModel alone.

        A lone network says nothing of its noise schedule: it is then the recipe's. Raises CheckpointError for another
        layout, sizes or schedule than the recipe's, and ParamsError if the sizes do not fit the images.
        """
        published = _ddpm_layouts.read(path)
        with torch.random.fork_rng(devices=[]):
            generator: Any = self.build(image_size, channels)
        tensors = _ddpm_layouts.unet(published, dict(generator.unet.config), dict(generator.schedule.config))
        _weights.put(generator, tensors, published.source.name)
        return Published(generator.eval(), published.layout, published.sha256)
