"""Latent diffusion that is told nothing but one prompt, the same for every picture: Stable Diffusion without a hole."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unlearning.abilities import Denoising, Scoring
from unlearning.generators._latent import LatentDiffusion
from unlearning.generators._strata import error, gaussian_noise, strata
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Missing, Pair, PerImage, View

_PICTURES = 256  # drawn from N(mean, variance), to see what the VAE makes of pictures of which no more is known
_CHUNK = 64  # of them at once


class PromptedDiffusion(LatentDiffusion, Denoising, Scoring):
    """net(z_t, t, c): [B, K, h, w], [B] -> [B, K, h, w]."""

    constants_are_of = "clean"

    @property
    def abar(self) -> Tensor:  # type: ignore[override]
        """[T]; a published folder brings betas of its own."""
        return (1 - self.betas).cumprod(dim=0)

    def constants(self, pair: Pair) -> Tensor:
        """z, [B, K, h, w] float32."""
        return self._latents(pair.clean)

    def signal(self, pair: Pair) -> Tensor:
        """z."""
        return self.constants(pair) if pair.known.constant is None else pair.known.constant

    def grid(self, missing: Missing) -> Missing:
        """Latents with a missing pixel, even one."""
        return self._hole(missing)

    def predict(self, noised: Tensor, timestep: Tensor) -> Tensor:
        """The noise in z_t, also where the network predicts v = a_t eps - s_t z: eps = a_t v + s_t z_t."""
        found = self.decode(self._encode(noised, timestep), timestep)
        kept, added = self._shares(timestep)
        return torch.where(self.predicts_velocity, kept * found + added * noised, found)

    def encode_drowned(self, pair: Pair, view: View) -> Latents:
        """As `encode`, with eps in the hole at every timestep."""
        timestep, noise = view
        visible = self._noised(self._latents(pair.corrupted.images), noise, timestep)
        return self._encode(torch.where(self.grid(pair.corrupted.missing), noise, visible), timestep)

    @torch.no_grad()
    def surprise(self, pair: Pair, draws: Draws) -> PerImage:
        """`loss`, averaged over the strata of the schedule: [B]."""
        return torch.stack([self.loss(pair, view) for view in self._strata(pair, draws)]).mean(0)

    @torch.no_grad()
    def surprise_of_nothing(self, pair: Pair, draws: Draws, mean: Images, variance: Images) -> PerImage:
        """The same of the optimal denoiser of N(m, diag v), m and v of the latents of pictures from N(mean, variance).

        Where v is predicted instead of the noise, the error of v: v = (eps - s_t z_t) / a_t.
        """
        m, v = self._of_nothing(mean, variance)
        clean, found = self.signal(pair), []
        for timestep, noise in self._strata(pair, draws):
            kept, _ = self._shares(timestep)
            noised = self._noised(clean, noise, timestep)
            wrong = error(gaussian_noise(noised, kept.square(), m, v), noise, self.grid(pair.corrupted.missing))
            scale = torch.where(self.predicts_velocity, kept.flatten().square(), torch.ones_like(wrong))
            found.append(wrong / scale)
        return torch.stack(found).mean(0)

    def _led(self, maps: Tensor, start: Tensor, corrupted: Corrupted, visible: Tensor, timestep: Tensor) -> Tensor:
        """What is visible leads, noised as the step is: nothing else tells the network of it."""
        return torch.where(self.grid(corrupted.missing), maps, self._noised(visible, start, timestep))

    def _stacked(self, noised: Tensor, corrupted: Corrupted, visible: Tensor) -> Tensor:
        return noised

    def _known(self, pair: Pair) -> tuple[Tensor, Tensor]:
        clean = self.signal(pair)
        return clean, clean  # the second is what an in-painting network is told beside z_t, and this one is not

    def _strata(self, pair: Pair, draws: Draws) -> Iterator[View]:
        return strata(len(self.betas), self._shape(pair.corrupted), draws)

    def _of_nothing(self, mean: Images, variance: Images) -> tuple[Tensor, Tensor]:
        """Mean and variance of the latents, [1, K, h, w] each; always from the same draws."""
        parts = []
        for first in range(0, _PICTURES, _CHUNK):
            noise = Draws(0, _CHUNK, where=("of_nothing", first), device=mean.device).normal(*mean.shape[1:])
            parts.append(self._latents((mean + variance.sqrt() * noise).clamp(-1, 1)))
        latents = torch.cat(parts)
        return latents.mean(dim=0, keepdim=True), latents.var(dim=0, keepdim=True)
