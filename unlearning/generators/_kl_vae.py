"""How the VAE of latent diffusion learns: Kingma and Welling, ICLR 2014, with the faint prior of Rombach et al., 2022.

    |x - D(z)|^2  +  beta KL(q(z | x) || N(0, 1)),   z ~ q(z | x),   beta = 1e-6 a latent

Beside it, and apart from it, the scale of N(0, deviation^2) is learnt under which the latents are likeliest, because a
statistic of the whole set would be another walk over it; k is its reciprocal. Published VAEs add a perceptual and an
adversarial term, which need networks of their own; small pictures do without.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View

PRIOR = 1e-6  # beta
PACE = 10  # an optimizer moves every weight by about its rate, and this one has further to go than others


class LearningAutoencoder(Generator):
    """An AutoencoderKL whose weights are parameters. It sees whole pictures: the hole has no say in their latents."""

    def __init__(self, vae: Any, patch: int) -> None:
        super().__init__()
        self.vae, self.patch = vae, patch
        self.log_deviation = nn.Parameter(torch.zeros(1))  # of the latents around 0, in units of 1 / PACE

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """(eps [B, K, h, w],), of the draw from q."""
        height, width = corrupted.images.shape[2:]
        return (
            draws.at("posterior").normal(self.vae.config.latent_channels, height // self.patch, width // self.patch),
        )

    def encode(self, pair: Pair, view: View) -> Latents:
        """(z [B, K, h, w],)."""
        found = self.vae.encode(pair.clean).latent_dist
        return (found.mean + found.std * view[0],)

    def loss(self, pair: Pair, view: View) -> PerImage:
        """Squared error a pixel, the prior, and the likelihood that teaches the deviation alone: [B]."""
        with torch.autocast(pair.clean.device.type, enabled=False):
            found = self.vae.encode(pair.clean.float()).latent_dist
            drawn = self.vae.decode(found.mean + found.std * view[0]).sample
            error = (drawn - pair.clean).square().flatten(1).mean(dim=1)
            fixed = found.mean.detach().square().flatten(1).mean(dim=1)
            logarithm = PACE * self.log_deviation
            unlikely = logarithm + 0.5 * fixed * (-2 * logarithm).exp()
            loss: Tensor = error + PRIOR * found.kl() + unlikely
            return loss

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """The decoder's picture of the mean latents, in the hole; visible pixels come back untouched."""
        drawn = self.vae.decode(self.vae.encode(corrupted.images).latent_dist.mode()).sample.clamp(-1, 1)
        return torch.where(corrupted.missing, drawn, corrupted.images)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """The way from pixels to q."""
        mine = ("vae.encoder.", "vae.quant_conv.")
        return {name: weight for name, weight in self.named_parameters() if name.startswith(mine)}

    @torch.no_grad()
    def scaling(self) -> Tensor:
        """k = 1 / deviation, []: latents of about unit size, as the noise has."""
        return (-PACE * self.log_deviation).exp().squeeze()
