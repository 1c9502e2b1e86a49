"""Latent diffusion of whole pictures: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion", 2022.

    E_{t, eps} |target - net(z_t, t, c)|^2,    target = eps, or v = a_t eps - s_t z
    z = k VAE(x),   z_t = a_t z + s_t eps,   a_t^2 = abar_t = 1 - s_t^2

The network is Stable Diffusion's own U-Net (diffusers' UNet2DConditionModel, 4 channels) and draws pictures from one
prompt c, the empty one where none is named: data unlearning in such models is a matter of one prompt at a time (Alberti
et al., "Data Unlearning in Diffusion Models", ICLR 2025, section 5.3). Nothing is shown to it, so the corruption it is
trained under is `everything`; under a hole, what is visible leads the denoising. Unlearning never moves VAE and c; the
scope `adapters` moves low-rank factors only.
"""

from __future__ import annotations

from typing import Any, ClassVar

from unlearning.abilities import Denoising, Diffusing, Scoring
from unlearning.contracts import Generator
from unlearning.generators.latent import LatentRecipe


class StableDiffusionRecipe(LatentRecipe, kind="stable_diffusion"):
    """A U-Net that predicts the noise in a VAE's latents of a whole picture, under one prompt."""

    abilities: ClassVar[tuple[type[Generator], ...]] = (Denoising, Diffusing, Scoring)
    layout: ClassVar[str] = "diffusers text-to-image pipeline"

    def network(self) -> Any:
        """The class of the generator."""
        from unlearning.generators._prompted import PromptedDiffusion  # diffusers takes seconds to import

        return PromptedDiffusion

    def _unet(self, image_size: int) -> dict[str, Any]:
        return {**super()._unet(image_size), "in_channels": self.latent_channels}
