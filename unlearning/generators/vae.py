"""Conditional VAE: Kingma and Welling, ICLR 2014; Sohn et al., "Structured Output Representation", NeurIPS 2015.

    E_{z ~ q}  -log p(x | z, T(x))  +  beta KL(q | N(0, 1)),   q = q(z | x, T(x)),   p(x | z, y) = N(D(z, y), sigma^2)

over missing pixels, in nats per missing pixel and channel; beta = 1 makes it the negative ELBO. The prior of z is the
same whatever is visible (Sohn et al. allow either), so a picture is D(z, T(x)) of a draw z ~ N(0, 1): one of those that
fit, as diffusion draws one, and another for other draws. Where nothing is visible (corruption `everything`) it is an
ordinary VAE. sigma may be learnt (Rybkin et al., "Simple and Effective VAE Training with Calibrated Decoders", ICML
2021). The network is plain convolutions around one latent vector, or diffusers' AutoencoderKL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from unlearning.abilities import Drawing, Scoring, Variational
from unlearning.contracts import Generator, GeneratorRecipe, Published
from unlearning.errors import CheckpointError, ParamsError
from unlearning.generators import _latent_layouts, _vae_layouts, _weights
from unlearning.generators._latent_layouts import VAE_OPTIONS


class VaeRecipe(GeneratorRecipe, kind="vae"):
    """A convolutional VAE whose posterior and decoder are told what is visible."""

    abilities: ClassVar[tuple[type[Generator], ...]] = (Drawing, Scoring, Variational)
    reads_degraded: ClassVar[bool] = True

    network: Literal["plain", "diffusers"] = Field(
        "plain", description="diffusers: AutoencoderKL, as published; its latents have places, so prior draws are loose"
    )
    widths: tuple[int, ...] = Field((32, 64), min_length=1, description="channels of each level, finest first")
    latent_channels: int = Field(16, gt=0, description="numbers of z: of all of it (plain), or of a place (diffusers)")
    layers: int = Field(1, gt=0, description="residual blocks a level, of the diffusers network")
    vae: dict[str, Any] = Field({}, description="other options of AutoencoderKL, as its config.json has them")
    beta: float = Field(
        1.0, gt=0, description="weight of the KL; 1 = the ELBO, search 0.1 to 4 (Higgins et al., ICLR 2017)"
    )
    sigma: float | None = Field(
        0.3,
        gt=0,
        description="deviation of a pixel around what is drawn, black to white is 2; null = learnt, which fits few "
        "images too closely and lets one number move every picture's likelihood",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.network == "diffusers" and any(width % 8 for width in self.widths):
            raise ValueError("every one of widths must be a multiple of 8, for the group norms")
        if self.vae and (self.network == "plain" or self.vae.keys() - VAE_OPTIONS):
            known = ", ".join(sorted(VAE_OPTIONS))
            raise ValueError(f"vae holds options of the diffusers network only, and of these: {known}")
        return self

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed. Raises ParamsError if the levels do not divide the image size."""
        shrunk = 2 ** (len(self.widths) - 1)
        if image_size % shrunk:
            raise ParamsError(
                f"generator 'vae': {len(self.widths)} levels need an image size that {shrunk} divides; "
                f"{image_size} is none"
            )
        from unlearning.generators import _vae_networks
        from unlearning.generators._vae import ConditionalVae

        if self.network == "plain":
            network = _vae_networks.plain(image_size, channels, self.widths, self.latent_channels)
        else:
            network = _vae_networks.diffusers(self._config(image_size, channels), channels)
        return ConditionalVae(network, self.sigma, self.beta)

    def _config(self, image_size: int, channels: int) -> dict[str, Any]:
        """Of an AutoencoderKL of these sizes."""
        sizes = image_size, channels, self.widths, self.layers, self.latent_channels
        return {**_latent_layouts.autoencoder(*sizes), **self.vae}

    def build_from(self, path: Path, image_size: int, channels: int) -> Published:
        """A folder of diffusers' AutoencoderKL. As published it is told x alone: what is visible counts once trained.

        Raises CheckpointError for another layout or other sizes, and ParamsError if the sizes do not fit the images or
        sigma, of which the folder says nothing, is left open.
        """
        if self.network == "plain":
            raise CheckpointError(
                f"{path.name}: the plain network of generator 'vae' has no published layout; `network: diffusers` "
                f"reads a folder of AutoencoderKL"
            )
        if self.sigma is None:
            raise ParamsError(
                f"generator.sigma: {path.name} does not say how far pixels lie from what its decoder draws; the "
                f"deviation that its training supposed is right, 1 for a plain squared error"
            )
        source = _weights.read(path)
        with torch.random.fork_rng(devices=[]):
            generator = self.build(image_size, channels)
        tensors = _vae_layouts.diffusers(source, self._config(image_size, channels))
        seen = {name: value for name, value in generator.state_dict().items() if name.startswith("seen.")}
        _weights.put(generator, {**tensors, **seen}, source.name)
        return Published(generator.eval(), "diffusers AutoencoderKL", source.sha256)
