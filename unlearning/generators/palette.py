"""Conditional diffusion: Saharia et al., "Palette: Image-to-Image Diffusion Models", SIGGRAPH 2022.

    E_{t, eps} |eps - eps_theta(y, m x_t + (1 - m) x, t)|^2  over the hole m
    x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps

The network is diffusers' UNet2DModel, or the guided-diffusion U-Net of the released Palette, told gamma = abar_t where
the other is told t. The schedules are diffusers'. y is the visible picture with noise in the hole.
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
from unlearning.generators import _palette_layouts, _weights

Network = Literal["diffusers", "guided"]

# What the released Palette has for in-painting; both of its schedules are linear, this is the training one.
_GUIDED: dict[str, Any] = dict(
    widths=(64, 128, 256, 512), attention_levels=0, head_width=32, train_steps=2000, beta_start=1e-6, beta_end=0.01
)


class PaletteRecipe(GeneratorRecipe, kind="palette"):
    """A U-Net that predicts the noise in the hole, given what is visible."""

    abilities: ClassVar[tuple[type[Generator], ...]] = (Diffusing,)
    reads_degraded: ClassVar[bool] = True

    network: Network = Field("diffusers", description="guided: the released Palette's, with its numbers as defaults")
    widths: tuple[int, ...] = Field((64, 128, 256), min_length=1, description="channels of each level, finest first")
    layers: int = Field(2, gt=0, description="residual blocks a level")
    attention_levels: int = Field(1, ge=0, description="how many of the coarsest levels attend; the middle always does")
    head_width: int = Field(8, gt=0, description="channels of an attention head")
    unet: dict[str, Any] = Field({}, description="other options of diffusers' UNet2DModel, as its config.json has them")
    train_steps: int = Field(1000, gt=1, description="length of the noise schedule; the released code has 2000")
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1, description="linear schedule; the released code has 0.09 at test time")
    sample_steps: int = Field(50, gt=0, description="denoising steps of a reconstruction")
    eta: float = Field(0.0, ge=0, le=1, description="0 = DDIM (Song et al., ICLR 2021), 1 = ancestral sampling")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        """The recipe as it is kept names every number of the released network."""
        if not isinstance(given, dict) or given.get("network") != "guided":
            return given
        return {**_GUIDED, **given}

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
        if self.network == "guided" and any(width % self.head_width for width in self._attending()):
            raise ValueError(f"widths that attend must be multiples of head_width, {self.head_width}")
        unknown = self.unet.keys() - _palette_layouts.OPTIONS
        if self.unet and (unknown or self.network == "guided"):
            known = ", ".join(sorted(_palette_layouts.OPTIONS))
            raise ValueError(f"unet holds options of the diffusers network only, and of these: {known}")
        return self

    def _attending(self) -> tuple[int, ...]:
        """Widths of the levels that attend, and of the middle."""
        return (*self.widths[len(self.widths) - self.attention_levels :], self.widths[-1])

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed. Raises ParamsError if the levels do not divide the image size."""
        shrunk = 2 ** (len(self.widths) - 1)
        if image_size % shrunk:
            raise ParamsError(
                f"generator 'palette': {len(self.widths)} levels need an image size that {shrunk} divides; "
                f"{image_size} is none"
            )
        from unlearning.generators._guided import GuidedDiffusion  # diffusers takes seconds to import
        from unlearning.generators._unet import Noising, UNet2DDiffusion

        noising = Noising(self.train_steps, (self.beta_start, self.beta_end), self.sample_steps, self.eta)
        if self.network == "guided":
            return GuidedDiffusion(channels, self.widths, self.layers, self.attention_levels, self.head_width, noising)
        return UNet2DDiffusion(
            image_size=image_size,
            channels=channels,
            widths=self.widths,
            layers=self.layers,
            attention_levels=self.attention_levels,
            head_width=self.head_width,
            groups=math.gcd(32, *self.widths),
            options=self.unet,
            noising=noising,
        )

    def build_from(self, path: Path, image_size: int, channels: int) -> Published:
        """The released Palette's flat state dict (network: guided), or a diffusers UNet2DModel folder.

        A diffusers network reads [y, x_t] along the channels, so it has twice as many as the picture. Raises
        CheckpointError for another layout or other sizes, and ParamsError if the sizes do not fit the images.
        """
        source = _weights.read(path)
        with torch.random.fork_rng(devices=[]):
            generator = self.build(image_size, channels)
        if self.network == "guided":
            layout, tensors = "Palette", _palette_layouts.guided(source)
        else:
            layout = "diffusers UNet2DModel"
            tensors = _palette_layouts.diffusers(source, dict(generator.unet.config))  # type: ignore[union-attr, arg-type]
        _weights.put(generator, tensors, source.name)
        return Published(generator.eval(), layout, source.sha256)
