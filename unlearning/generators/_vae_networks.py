"""The two networks of the VAE family, each in three parts: what q is made of, what is seen of T(x), what is drawn.

B images, C channels of a picture, K of a latent, S of what is seen.
encoder   [x, T(x), hole], [B, 2 C + 1, H, W]  ->  mean and log-variance of q, [B, 2 K, h, w]
seen      [T(x), hole],    [B, C + 1, H, W]    ->  maps, coarsest last
decoder   z [B, K, h, w] and these maps        ->  [B, C, H, W]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Network:
    """Three parts that belong together, and the shape of a latent, (K, h, w)."""

    encoder: nn.Module
    seen: nn.Module
    decoder: nn.Module
    latent: tuple[int, int, int]


def plain(image_size: int, channels: int, widths: Sequence[int], latents: int) -> Network:
    """Convolutions, and a latent of K numbers that has no place: h = w = 1, every pixel of a picture shares it."""
    side = image_size // 2 ** (len(widths) - 1)
    encoder = nn.Sequential(
        _Levels(2 * channels + 1, widths, coarsest_only=True),
        nn.Flatten(),
        nn.Linear(widths[-1] * side**2, 2 * latents),
        nn.Unflatten(1, (2 * latents, 1, 1)),
    )
    return Network(encoder, _Levels(channels + 1, widths), _Drawing(side, channels, widths, latents), (latents, 1, 1))


def diffusers(config: Mapping[str, Any], channels: int) -> Network:
    """Those of an AutoencoderKL, with latents that have places; names of its weights are kept.

    The first convolutions of encoder and decoder are told more than the published ones: 2 C + 1 channels, and 2 K.
    """
    from diffusers import AutoencoderKL  # takes seconds to import
    from diffusers.models.autoencoders.vae import Encoder

    latents, shrunk = int(config["latent_channels"]), 2 ** (len(config["block_out_channels"]) - 1)
    vae: Any = AutoencoderKL(**config)
    vae.encoder.conv_in = nn.Conv2d(2 * channels + 1, config["block_out_channels"][0], 3, padding=1)
    vae.decoder.conv_in = nn.Conv2d(2 * latents, config["block_out_channels"][-1], 3, padding=1)
    seen = Encoder(
        in_channels=channels + 1,
        out_channels=latents,
        down_block_types=config["down_block_types"],
        block_out_channels=config["block_out_channels"],
        layers_per_block=config["layers_per_block"],
        norm_num_groups=config["norm_num_groups"],
        double_z=False,
        mid_block_add_attention=vae.config.mid_block_add_attention,
    )
    side = int(config["sample_size"]) // shrunk
    return Network(_KlEncoder(vae), _Seen(seen), _KlDecoder(vae), (latents, side, side))


class _Levels(nn.Module):
    """A map a level, each half as wide and high as the one before: [B, widths[i], H / 2^i, W / 2^i]."""

    def __init__(self, channels: int, widths: Sequence[int], coarsest_only: bool = False) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv2d(channels, widths[0], 3, padding=1), nn.SiLU())
        rest = [
            nn.Sequential(nn.Conv2d(fine, coarse, 4, stride=2, padding=1), nn.SiLU())
            for fine, coarse in pairwise(widths)
        ]
        self.levels = nn.ModuleList([first, *rest])
        self.coarsest_only = coarsest_only

    def forward(self, told: Tensor) -> Any:
        maps = [told]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[-1] if self.coarsest_only else tuple(maps[1:])


class _Drawing(nn.Module):
    """From one place to all: z as the coarsest map, then a level at a time, each with what is seen at its own."""

    def __init__(self, side: int, channels: int, widths: Sequence[int], latents: int) -> None:
        super().__init__()
        self.shape = (widths[-1], side, side)
        self.spread = nn.Linear(latents, widths[-1] * side**2)
        self.joins = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.SiLU()) for width in reversed(widths)
        )
        self.ups = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1), nn.SiLU())
            for coarse, fine in pairwise(reversed(widths))
        )
        self.last = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, latent: Tensor, seen: Sequence[Tensor]) -> Tensor:
        tokens = nn.functional.silu(self.spread(latent.flatten(1))).view(-1, *self.shape)
        ups: list[nn.Module] = [*self.ups, self.last]
        for join, up, known in zip(self.joins, ups, reversed(seen), strict=True):
            tokens = up(join(torch.cat([tokens, known], dim=1)))
        return tokens


class _KlEncoder(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv

    def forward(self, told: Tensor) -> Tensor:
        found: Tensor = self.encoder(told)
        return found if self.quant_conv is None else self.quant_conv(found)


class _KlDecoder(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.decoder, self.post_quant_conv = vae.decoder, vae.post_quant_conv

    def forward(self, latent: Tensor, seen: Sequence[Tensor]) -> Tensor:
        if self.post_quant_conv is not None:
            latent = self.post_quant_conv(latent)
        drawn: Tensor = self.decoder(torch.cat([latent, *seen], dim=1))
        return drawn


class _Seen(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, told: Tensor) -> tuple[Tensor, ...]:
        return (self.network(told),)
