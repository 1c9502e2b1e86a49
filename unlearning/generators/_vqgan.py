"""The tokenizer of MAGE: a VQ-GAN (Esser et al., CVPR 2021) in the layout of the JAX port that MAGE ships.

Pictures [B, C, H, W] become codes [B, L], one a patch of f x f pixels, and codes become pictures. Names are the
published ones. Unlearning never moves it: its weights are buffers (`_frozen.py`). It runs in float32 whatever the
precision around it, because a rounded code is another code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning.generators._frozen import freeze
from unlearning.generators._pixels import PixelScale, Scale
from unlearning.types import Images


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a tokenizer; f = 2^(levels - 1)."""

    width: int  # channels that the multiples multiply
    multiples: tuple[int, ...]  # a level, finest first
    blocks: int  # residual blocks a level
    codes: int  # entries of the codebook
    code_width: int  # channels of an entry


class Tokenizer(nn.Module):
    """`codes(images)` and `images(codes)`. Frozen: buffers only."""

    def __init__(self, sizes: Sizes, channels: int, scale: Scale) -> None:
        super().__init__()
        self.encoder = _Encoder(sizes, channels)
        self.decoder = _Decoder(sizes, channels)
        self.quantize = _Codebook(sizes)
        self.scale = PixelScale(scale, channels)
        freeze(self)

    @torch.no_grad()
    def codes(self, images: Images) -> Tensor:
        """[B, C, H, W] -> [B, L] int64: the nearest entry of each place, in reading order."""
        with torch.autocast(images.device.type, enabled=False):
            return self.nearest(self.encoder(self.scale(images.float())))

    @torch.no_grad()
    def nearest(self, maps: Tensor) -> Tensor:
        """[B, K, H / f, W / f] -> [B, L] int64: the nearest entry of each place."""
        found = maps.flatten(2).transpose(1, 2)  # [B, L, K]
        entries: Tensor = self.quantize.embedding.weight
        # |z - e|^2 = |z|^2 + |e|^2 - 2 z e, and |z|^2 is the same for every entry
        distance = entries.square().sum(dim=1) - 2 * found @ entries.T  # [B, L, codes]
        return distance.argmin(dim=-1)

    @torch.no_grad()
    def images(self, codes: Tensor) -> Images:
        """[B, L] -> [B, C, H, W], not clamped."""
        with torch.autocast(codes.device.type, enabled=False):
            drawn: Tensor = self.decoder(self.entries(codes))
        return self.scale.back(drawn)

    def entries(self, codes: Tensor) -> Tensor:
        """[B, L] -> [B, K, H / f, W / f]."""
        side = math.isqrt(codes.shape[1])
        maps: Tensor = self.quantize.embedding(codes).transpose(1, 2).unflatten(2, (side, side))
        return maps.contiguous()

    def train(self, mode: bool = True) -> Tokenizer:
        """Always in eval mode: it is how a picture is written down, not what is learnt."""
        return super().train(False)


class _Codebook(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.codes, sizes.code_width)
        nn.init.uniform_(self.embedding.weight, -1 / sizes.codes, 1 / sizes.codes)


class _Encoder(nn.Module):
    """[B, C, H, W] -> [B, K, H / f, W / f]."""

    def __init__(self, sizes: Sizes, channels: int) -> None:
        super().__init__()
        widths = [sizes.width * multiple for multiple in sizes.multiples]
        self.conv_in = nn.Conv2d(channels, sizes.width, 3, padding=1, bias=False)
        pairs = zip([sizes.width, *widths], widths, strict=False)
        self.down = nn.ModuleList(_Level(incoming, width, sizes.blocks) for incoming, width in pairs)
        self.mid = _Middle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], sizes.code_width, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.conv_in(pixels)
        for place, level in enumerate(self.down):
            maps = level(functional.avg_pool2d(maps, 2) if place else maps)
        found: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid(maps))))
        return found


class _Decoder(nn.Module):
    """[B, K, H / f, W / f] -> [B, C, H, W]. `up` is numbered from the finest level and run from the coarsest."""

    def __init__(self, sizes: Sizes, channels: int) -> None:
        super().__init__()
        widths = [sizes.width * multiple for multiple in sizes.multiples]
        self.conv_in = nn.Conv2d(sizes.code_width, widths[-1], 3, padding=1)
        self.mid = _Middle(widths[-1])
        pairs = enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        self.up = nn.ModuleList(
            _Level(incoming, width, sizes.blocks, grows=place > 0) for place, (incoming, width) in pairs
        )
        self.norm_out = _norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        maps = self.mid(self.conv_in(codes))
        for level in reversed(self.up):
            maps = level(maps)
        drawn: Tensor = self.conv_out(functional.silu(self.norm_out(maps)))
        return drawn


class _Level(nn.Module):
    """Residual blocks at one resolution; then, where it grows, twice the side."""

    def __init__(self, incoming: int, width: int, blocks: int, grows: bool = False) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Residual(width if place else incoming, width) for place in range(blocks))
        self.upsample = _Upsample(width) if grows else None

    def forward(self, maps: Tensor) -> Tensor:
        for block in self.block:
            maps = block(maps)
        grown: Tensor = maps if self.upsample is None else self.upsample(maps)
        return grown


class _Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        smoothed: Tensor = self.conv(functional.interpolate(maps, scale_factor=2.0))
        return smoothed


class _Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1, self.block_2 = _Residual(width, width), _Residual(width, width)

    def forward(self, maps: Tensor) -> Tensor:
        made: Tensor = self.block_2(self.block_1(maps))
        return made


class _Residual(nn.Module):
    """x + h, h = conv(silu(norm(conv(silu(norm(x)))))); where the width changes, shortcut(h) + h, without x.

    Dropping x there is a slip of the port that its published weights were trained with; it stays.
    """

    def __init__(self, incoming: int, width: int) -> None:
        super().__init__()
        self.norm1 = _norm(incoming)
        self.conv1 = nn.Conv2d(incoming, width, 3, padding=1, bias=False)
        self.norm2 = _norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.nin_shortcut = nn.Conv2d(width, width, 1, bias=False) if incoming != width else None

    def forward(self, maps: Tensor) -> Tensor:
        inner: Tensor = self.conv1(functional.silu(self.norm1(maps)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        kept: Tensor = maps if self.nin_shortcut is None else self.nin_shortcut(inner)
        return kept + inner


def _norm(width: int) -> nn.Module:
    """32 groups as published; as many as fit where there are fewer channels."""
    return nn.GroupNorm(math.gcd(32, width), width, eps=1e-6)
