"""Unconditional diffusion around diffusers' UNet2DModel and DDIMScheduler, which at eta = 1 samples as DDPM does.

The encoder is the U-Net's first convolution, its down blocks and its middle block. The embedding of the time is no part
of it, because the up blocks read it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn

from unlearning.abilities import Denoising, Diffusing, Scoring
from unlearning.generators._strata import error, gaussian_noise, strata
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View

_ENCODER = ("unet.conv_in.", "unet.down_blocks.", "unet.mid_block.")
_STRATA = 16  # parts of the schedule, a timestep drawn in each: steadier than as many drawn anywhere


@dataclass(frozen=True, slots=True)
class Schedule:
    """How noise is added, and taken away again."""

    train_steps: int
    betas: tuple[float, float]  # first and last
    kind: str
    sample_steps: int
    eta: float  # 0 = DDIM, 1 = ancestral


class UnconditionalDiffusion(Denoising, Diffusing, Scoring):
    """eps_theta(x_t, t): [B, C, H, W], [B] -> [B, C, H, W]."""

    def __init__(self, config: Mapping[str, Any], schedule: Schedule) -> None:
        super().__init__()
        self.unet: Any = UNet2DModel(**config)
        self.schedule = DDIMScheduler(
            num_train_timesteps=schedule.train_steps,
            beta_start=schedule.betas[0],
            beta_end=schedule.betas[1],
            beta_schedule=schedule.kind,
            timestep_spacing="trailing",  # the first step is the last of the schedule: nothing but noise
        )
        self.sample_steps, self.eta = schedule.sample_steps, schedule.eta
        self.register_buffer("abar", self.schedule.alphas_cumprod.clone(), persistent=False)

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """(t [B] int64, eps [B, C, H, W])."""
        shape = corrupted.images.shape[1:]
        return draws.at("timestep").integers(len(self.abar)), draws.at("noise").normal(*shape)

    def predict(self, noised: Images, timestep: Tensor) -> Tensor:
        """The noise in a picture that is noised all over, as diffusers computes it."""
        predicted: Tensor = self.unet(noised, timestep).sample
        return predicted

    def encode(self, pair: Pair, view: View) -> Latents:
        """Every map the decoder reads, of x_t: the first, each residual block's and down-sampling's, the middle's."""
        timestep, noise = view
        return self._encode(self._noised(pair.clean, noise, timestep), timestep)

    def encode_drowned(self, pair: Pair, view: View) -> Latents:
        """As `encode`, with x_t = eps in the hole at every timestep."""
        timestep, noise = view
        noised = self._noised(pair.clean, noise, timestep)
        return self._encode(torch.where(pair.corrupted.missing, noise, noised), timestep)

    def loss(self, pair: Pair, view: View) -> PerImage:
        """Squared error of the noise predicted in x_t, averaged over an image's missing pixels: [B]."""
        timestep, noise = view
        found = self.predict(self._noised(pair.clean, noise, timestep), timestep).float()
        return error(found, noise, pair.corrupted.missing)

    @torch.no_grad()
    def surprise(self, pair: Pair, draws: Draws) -> PerImage:
        """`loss`, averaged over the strata of the schedule: [B]."""
        return torch.stack([self.loss(pair, view) for view in self._strata(pair, draws)]).mean(0)

    @torch.no_grad()
    def surprise_of_nothing(self, pair: Pair, draws: Draws, mean: Images, variance: Images) -> PerImage:
        """The same of the optimal denoiser of N(mean, diag variance), under the same views: [B]."""
        found = []
        for timestep, noise in self._strata(pair, draws):
            kept = self.abar[timestep].view(-1, 1, 1, 1)
            noised = self._noised(pair.clean, noise, timestep)
            found.append(error(gaussian_noise(noised, kept, mean, variance), noise, pair.corrupted.missing))
        return torch.stack(found).mean(0)

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """`sample_steps` denoising steps from noise; where pixels are visible they lead, noised as the step is."""
        return self.reconstruct_led(self, 0.0, corrupted, draws)

    @torch.no_grad()
    def reconstruct_led(self, leader: Self, share: float, corrupted: Corrupted, draws: Draws) -> Images:
        """The same steps, and another that predicts in the first of them."""
        visible, missing = corrupted.images, corrupted.missing
        shape = visible.shape[1:]
        start = draws.at("start").normal(*shape)
        images = start
        self.schedule.set_timesteps(self.sample_steps)
        for place, timestep in enumerate(self.schedule.timesteps.tolist()):
            steps = torch.full((len(images),), timestep, device=images.device)
            images = torch.where(missing, images, self._noised(visible, start, steps))
            noise = draws.at("step", place).normal(*shape) if self.eta else None
            here = leader if place < round(share * self.sample_steps) else self
            predicted = here.predict(images, steps).float()
            images = self.schedule.step(predicted, timestep, images, eta=self.eta, variance_noise=noise).prev_sample
        return torch.where(missing, images.clamp(-1, 1), visible)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """The way down and the middle, without the embedding of the time."""
        return {name: weight for name, weight in self.named_parameters() if name.startswith(_ENCODER)}

    def _strata(self, pair: Pair, draws: Draws) -> Iterator[View]:
        return strata(len(self.abar), pair.clean.shape[1:], draws)

    def _noised(self, clean: Images, noise: Tensor, timestep: Tensor) -> Images:
        noised: Images = self.schedule.add_noise(clean, noise, timestep)
        return noised

    def _encode(self, noised: Images, timestep: Tensor) -> Latents:
        embedded = self.unet.time_embedding(self.unet.time_proj(timestep).to(noised.dtype))
        tokens = self.unet.conv_in(noised)
        maps = [tokens]
        for block in self.unet.down_blocks:
            tokens, made = block(hidden_states=tokens, temb=embedded)
            maps.extend(made)
        return (*maps, self.unet.mid_block(tokens, embedded))
