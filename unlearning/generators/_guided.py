"""The U-Net of the released Palette: guided diffusion's (Dhariwal and Nichol, NeurIPS 2021), told gamma instead of t.

Its names are the published ones. Every block is scaled and shifted by the embedded gamma; blocks also change the
resolution. The published training drops out 0.2 in each block: a network that shares its view must not, and does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning.generators._unet import ConditionalDiffusion, Noising
from unlearning.types import Latents

Resize: TypeAlias = Callable[[Tensor], Tensor]


class GuidedDiffusion(ConditionalDiffusion):
    """eps_theta([y, x_t], gamma_t)."""

    encoder_names = ("denoise_fn.input_blocks.", "denoise_fn.middle_block.")

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        layers: int,
        attention_levels: int,
        head_width: int,
        noising: Noising,
    ) -> None:
        super().__init__(noising)
        self.denoise_fn = _UNet(channels, widths, layers, attention_levels, head_width)
        self.denoise_fn.initialise()

    def decode(self, latents: Latents, timestep: Tensor) -> Tensor:
        """Output blocks, each joined to the latest map of the way down that is left."""
        *skipped, maps = latents
        embedded = self.denoise_fn.embedded(self._gamma(timestep))
        for block in self.denoise_fn.output_blocks:
            maps = block(torch.cat([maps, skipped.pop()], dim=1), embedded)
        predicted: Tensor = self.denoise_fn.out(maps)
        return predicted

    def _encode(self, stacked: Tensor, timestep: Tensor) -> Latents:
        embedded = self.denoise_fn.embedded(self._gamma(timestep))
        maps, made = stacked, list[Tensor]()
        for block in self.denoise_fn.input_blocks:
            maps = block(maps, embedded)
            made.append(maps)
        return (*made, self.denoise_fn.middle_block(maps, embedded))

    def _gamma(self, timestep: Tensor) -> Tensor:
        """abar_t, [B]: what is left of the picture's variance."""
        left: Tensor = self.schedule.alphas_cumprod.to(timestep.device)[timestep]
        return left


class _UNet(nn.Module):
    def __init__(
        self, channels: int, widths: tuple[int, ...], layers: int, attention_levels: int, head_width: int
    ) -> None:
        super().__init__()
        self.width, inner = widths[0], 4 * widths[0]
        self.cond_embed = nn.Sequential(nn.Linear(self.width, inner), nn.SiLU(), nn.Linear(inner, inner))

        def attending(level: int, width: int) -> list[nn.Module]:
            return [_Attention(width, head_width)] if level >= len(widths) - attention_levels else []

        down, skipped, now = [_Sequence([nn.Conv2d(2 * channels, self.width, 3, padding=1)])], [self.width], self.width
        for level, width in enumerate(widths):
            for _ in range(layers):
                down.append(_Sequence([_Block(now, width, inner), *attending(level, width)]))
                now = width
                skipped.append(now)
            if level < len(widths) - 1:
                down.append(_Sequence([_Block(now, now, inner, _halved)]))
                skipped.append(now)
        self.input_blocks = nn.ModuleList(down)
        self.middle_block = _Sequence([_Block(now, now, inner), _Attention(now, head_width), _Block(now, now, inner)])
        up = []
        for level, width in reversed(list(enumerate(widths))):
            for place in range(layers + 1):
                parts = [_Block(now + skipped.pop(), width, inner), *attending(level, width)]
                now = width
                if level and place == layers:
                    parts.append(_Block(now, now, inner, _doubled))
                up.append(_Sequence(parts))
        self.output_blocks = nn.ModuleList(up)
        self.out = nn.Sequential(_norm(now), nn.SiLU(), nn.Conv2d(now, channels, 3, padding=1))

    def initialise(self) -> None:
        """As the released code does at last, over the zeros that guided diffusion begins with: Kaiming, no bias."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def embedded(self, gamma: Tensor) -> Tensor:
        """[B] -> [B, 4 D]: cosines and sines of gamma itself, which is at most 1."""
        half = self.width // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, device=gamma.device) / half)
        angles = gamma[:, None].float() * rates
        made: Tensor = self.cond_embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        return made


class _Sequence(nn.ModuleList):
    """Parts in a row; those that want the embedding get it."""

    def forward(self, maps: Tensor, embedded: Tensor) -> Tensor:
        for part in self:
            maps = part(maps, embedded) if isinstance(part, _Block) else part(maps)
        return maps


class _Block(nn.Module):
    """skip(x') + conv(silu(norm(conv(silu(norm(x))')) (1 + scale) + shift)); ' = at the new resolution."""

    def __init__(self, incoming: int, width: int, embedding: int, resized: Resize | None = None) -> None:
        super().__init__()
        self._resized = resized
        self.in_layers = nn.Sequential(_norm(incoming), nn.SiLU(), nn.Conv2d(incoming, width, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * width))
        last = nn.Conv2d(width, width, 3, padding=1)
        self.out_layers = nn.Sequential(_norm(width), nn.SiLU(), nn.Identity(), last)  # published: dropout in between
        self.skip_connection = nn.Identity() if incoming == width else nn.Conv2d(incoming, width, 1)

    def forward(self, maps: Tensor, embedded: Tensor) -> Tensor:
        """[B, incoming, h, w], [B, 4 D] -> [B, width, h', w']."""
        inner = self.in_layers[1](self.in_layers[0](maps))
        if self._resized is not None:
            inner, maps = self._resized(inner), self._resized(maps)
        inner = self.in_layers[2](inner)
        scale, shift = self.emb_layers(embedded).to(inner.dtype)[..., None, None].chunk(2, dim=1)
        inner = self.out_layers[0](inner) * (1 + scale) + shift
        made: Tensor = self.skip_connection(maps) + self.out_layers[1:](inner)
        return made


class _Attention(nn.Module):
    """Places attend to each other; the 3 D channels of qkv hold one head after another, q, k and v in each."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.heads = width // head_width
        self.norm = _norm(width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, D, h, w] -> [B, D, h, w]."""
        tokens = maps.flatten(2)  # [B, D, T]
        heads = self.qkv(self.norm(tokens)).unflatten(1, (self.heads, 3, -1)).transpose(-1, -2)  # [B, n, 3, T, D / n]
        mixed = functional.scaled_dot_product_attention(*heads.unbind(2))  # [B, n, T, D / n]
        made: Tensor = tokens + self.proj_out(mixed.transpose(-1, -2).flatten(1, 2))
        return made.view_as(maps)


def _halved(maps: Tensor) -> Tensor:
    return functional.avg_pool2d(maps, 2)


def _doubled(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2.0)


def _norm(width: int) -> nn.Module:
    """32 groups as published; as many as fit where there are fewer channels."""
    return nn.GroupNorm(math.gcd(32, width), width)
