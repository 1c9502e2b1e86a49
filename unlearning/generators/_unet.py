"""Conditional diffusion around a U-Net in two halves, with diffusers' DDIMScheduler; and diffusers' UNet2DModel as one.

The encoder is the U-Net's own: its first convolution, the down blocks and the middle block. The embedding of the time
is not part of it, because the up blocks read it too: moving it would change the decoder behind the encoder's back.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn

from unlearning.abilities import Diffusing
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View


@dataclass(frozen=True, slots=True)
class Noising:
    """How noise is added, and taken away again."""

    train_steps: int
    betas: tuple[float, float]  # linear, first and last
    sample_steps: int
    eta: float  # 0 = DDIM, 1 = ancestral


class ConditionalDiffusion(Diffusing):
    """eps_theta(y, x_t, t): [B, 2 C, H, W], [B] -> [B, C, H, W]."""

    encoder_names: ClassVar[tuple[str, ...]]  # how the names of E's weights begin

    def __init__(self, noising: Noising) -> None:
        super().__init__()
        self.schedule = DDIMScheduler(
            num_train_timesteps=noising.train_steps,
            beta_start=noising.betas[0],
            beta_end=noising.betas[1],
            beta_schedule="linear",
            timestep_spacing="trailing",  # the first step is the last of the schedule: nothing but noise
        )
        self.train_steps, self.sample_steps, self.eta = noising.train_steps, noising.sample_steps, noising.eta

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """(t [B] int64, eps [B, C, H, W], noise in the hole of y [B, C, H, W])."""
        shape = corrupted.images.shape[1:]
        return (
            draws.at("timestep").integers(self.train_steps),
            draws.at("noise").normal(*shape),
            draws.at("condition").normal(*shape),
        )

    def encode(self, pair: Pair, view: View) -> Latents:
        """Every map the decoder reads: the first, each residual block's and down-sampling's, and the middle block's."""
        return self._encode(*self._inputs(pair, view))

    def encode_drowned(self, pair: Pair, view: View) -> Latents:
        """As `encode`, with x_t = eps at every timestep."""
        timestep, noise, condition_noise = view
        return self._encode(self._stacked(pair, noise, condition_noise), timestep)

    @abstractmethod
    def decode(self, latents: Latents, timestep: Tensor) -> Tensor:
        """Predicted noise from the encoder's maps: [B, C, H, W]."""

    @abstractmethod
    def _encode(self, stacked: Tensor, timestep: Tensor) -> Latents:
        """[B, 2 C, H, W] -> every map that the decoder reads, the middle block's last."""

    def loss(self, pair: Pair, view: View) -> PerImage:
        """Squared error of the predicted noise, averaged over an image's missing pixels: [B]."""
        timestep, noise, _ = view
        stacked, _ = self._inputs(pair, view)
        error = (self._predict(stacked, timestep).float() - noise).square()
        counted = pair.corrupted.missing.expand_as(error).float()
        return (error * counted).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3))

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """`sample_steps` denoising steps from noise in the hole; visible pixels are put back at every step."""
        return self.reconstruct_led(self, 0.0, corrupted, draws)

    @torch.no_grad()
    def reconstruct_led(self, leader: Self, share: float, corrupted: Corrupted, draws: Draws) -> Images:
        """The same steps, and another that predicts in the first of them."""
        visible, missing = corrupted.images, corrupted.missing
        shape = visible.shape[1:]
        condition = _condition(corrupted, draws.at("condition").normal(*shape))
        images = draws.at("start").normal(*shape)
        self.schedule.set_timesteps(self.sample_steps)
        for place, timestep in enumerate(self.schedule.timesteps.tolist()):
            stacked = torch.cat([condition, torch.where(missing, images, visible)], dim=1)
            steps = torch.full((len(images),), timestep, device=images.device)
            here = leader if place < round(share * self.sample_steps) else self
            predicted = here._predict(stacked, steps).float()
            noise = draws.at("step", place).normal(*shape) if self.eta else None
            images = self.schedule.step(predicted, timestep, images, eta=self.eta, variance_noise=noise).prev_sample
        return torch.where(missing, images.clamp(-1, 1), visible)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """The way down and the middle, without the embedding of the time."""
        return {name: weight for name, weight in self.named_parameters() if name.startswith(self.encoder_names)}

    def _inputs(self, pair: Pair, view: View) -> tuple[Tensor, Tensor]:
        """[y, m x_t + (1 - m) x] and t."""
        timestep, noise, condition_noise = view
        return self._stacked(pair, self._noised(pair.clean, noise, timestep), condition_noise), timestep

    def _stacked(self, pair: Pair, noised: Images, condition_noise: Images) -> Tensor:
        """[y, m x_t + (1 - m) x], [B, 2 C, H, W]."""
        condition = _condition(pair.corrupted, condition_noise)
        return torch.cat([condition, torch.where(pair.corrupted.missing, noised, pair.clean)], dim=1)

    def _noised(self, clean: Images, noise: Tensor, timestep: Tensor) -> Images:
        noised: Images = self.schedule.add_noise(clean, noise, timestep)
        return noised

    def _predict(self, stacked: Tensor, timestep: Tensor) -> Tensor:
        return self.decode(self._encode(stacked, timestep), timestep)


def _condition(corrupted: Corrupted, noise: Images) -> Images:
    """y: what is visible, and noise in the hole. Where all is missing there is no hole: y is what T left of it."""
    hole = corrupted.missing
    return torch.where(hole & ~hole.flatten(1).all(dim=1)[:, None, None, None], noise, corrupted.images)


class UNet2DDiffusion(ConditionalDiffusion):
    """With diffusers' UNet2DModel."""

    encoder_names = ("unet.conv_in.", "unet.down_blocks.", "unet.mid_block.")

    def __init__(
        self,
        image_size: int,
        channels: int,
        widths: tuple[int, ...],
        layers: int,
        attention_levels: int,
        head_width: int,
        groups: int,
        options: Mapping[str, Any],
        noising: Noising,
    ) -> None:
        super().__init__(noising)
        plain = len(widths) - attention_levels
        chosen = {
            "sample_size": image_size,
            "in_channels": 2 * channels,
            "out_channels": channels,
            "block_out_channels": widths,
            "layers_per_block": layers,
            "down_block_types": ("DownBlock2D",) * plain + ("AttnDownBlock2D",) * attention_levels,
            "up_block_types": ("AttnUpBlock2D",) * attention_levels + ("UpBlock2D",) * plain,
            "attention_head_dim": head_width,
            "norm_num_groups": groups,
        }
        self.unet: Any = UNet2DModel(**{**chosen, **options})

    def decode(self, latents: Latents, timestep: Tensor) -> Tensor:
        """Up blocks, each with the maps of its own level."""
        embedded = self._embedded(timestep, latents[0].dtype)
        *skipped, tokens = latents
        for block in self.unet.up_blocks:
            taken, skipped = skipped[-len(block.resnets) :], skipped[: -len(block.resnets)]
            tokens = block(tokens, tuple(taken), embedded)
        predicted: Tensor = self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(tokens)))
        return predicted

    def _encode(self, stacked: Tensor, timestep: Tensor) -> Latents:
        embedded = self._embedded(timestep, stacked.dtype)
        tokens = self.unet.conv_in(stacked)
        maps = [tokens]
        for block in self.unet.down_blocks:
            tokens, made = block(hidden_states=tokens, temb=embedded)
            maps.extend(made)
        return (*maps, self.unet.mid_block(tokens, embedded))

    def _embedded(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        embedded: Tensor = self.unet.time_embedding(self.unet.time_proj(timestep).to(dtype))
        return embedded
