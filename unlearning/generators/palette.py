"""Conditional diffusion: Saharia et al., "Palette: Image-to-Image Diffusion Models", SIGGRAPH 2022.

    E_{t, eps} |eps - eps_theta(y, m x_t + (1 - m) x, t)|^2  over the hole m
    x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps

The network is diffusers' UNet2DModel, the schedules are diffusers'. y is the visible picture with noise in the hole.
"""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from unlearning.contracts import Generator, GeneratorRecipe
from unlearning.errors import ParamsError


class PaletteRecipe(GeneratorRecipe, kind="palette"):
    """A U-Net that predicts the noise in the hole, given what is visible."""

    widths: tuple[int, ...] = Field((64, 128, 256), min_length=1, description="channels of each level, finest first")
    layers: int = Field(2, gt=0, description="residual blocks a level")
    attention_levels: int = Field(1, ge=0, description="how many of the coarsest levels attend")
    train_steps: int = Field(1000, gt=1, description="length of the noise schedule; the released code has 2000")
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1, description="linear schedule; the released code has 0.09 at test time")
    sample_steps: int = Field(50, gt=0, description="denoising steps of a reconstruction")
    eta: float = Field(0.0, ge=0, le=1, description="0 = DDIM (Song et al., ICLR 2021), 1 = ancestral sampling")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.beta_start >= self.beta_end:
            raise ValueError("beta_start must be below beta_end")
        if self.sample_steps > self.train_steps:
            raise ValueError(f"sample_steps must be at most train_steps, {self.train_steps}")
        if self.attention_levels > len(self.widths):
            raise ValueError(f"attention_levels must be at most the number of widths, {len(self.widths)}")
        if any(width % 8 for width in self.widths):
            raise ValueError("every width must be a multiple of 8, for the group norms")
        return self

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed. Raises ParamsError if the levels do not divide the image size."""
        shrunk = 2 ** (len(self.widths) - 1)
        if image_size % shrunk:
            raise ParamsError(
                f"generator 'palette': {len(self.widths)} levels need an image size that {shrunk} divides; "
                f"{image_size} is none"
            )
        from unlearning.generators._unet import ConditionalDiffusion  # diffusers takes seconds to import

        return ConditionalDiffusion(
            image_size=image_size,
            channels=channels,
            widths=self.widths,
            layers=self.layers,
            attention_levels=self.attention_levels,
            groups=math.gcd(32, *self.widths),
            train_steps=self.train_steps,
            betas=(self.beta_start, self.beta_end),
            sample_steps=self.sample_steps,
            eta=self.eta,
        )
