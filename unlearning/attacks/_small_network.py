"""The network that an attacker trains: transformer blocks over a coarse grid, from maps of any shape to a picture.

B images, g x g cells of p x p pixels, D channels of a cell. Every map is brought to the grid (a finer one cut into
cells, a coarser one repeated, a vector told to each cell), its channels standardised, so that an encoder which merely
whispers is heard as well as one which speaks up. The last layer begins at zero: before it has learnt anything the
network draws the mean picture, and knows nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning.types import Images, Latents, Missing, View

_MOST_CELLS = 8  # a side
_WHISPER = 1e-4  # of the loudest channel's deviation: what is softer is the rounding of float32
_HEADS = 4


class SmallNetwork(nn.Module):
    """network(maps) is a picture [B, C, H, W], not clamped; maps [B, K, h, w] of the examples' shapes."""

    mean: Tensor  # [1, C, H, W]

    def __init__(self, examples: Sequence[Tensor], mean: Images, width: int, depth: int) -> None:
        super().__init__()
        channels, side = mean.shape[1], mean.shape[-1]
        self.cells = cells_of(side)
        self.patch = side // self.cells
        self.register_buffer("mean", mean.clone())
        self.standards = nn.ModuleList(_Standard(level) for level in examples)
        self.readers = nn.ModuleList(nn.Linear(_on_grid(level, self.cells).shape[1], width) for level in examples)
        self.places = nn.Parameter(0.02 * torch.randn(1, self.cells**2, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, _HEADS, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.head = nn.Linear(width, channels * self.patch**2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, maps: Sequence[Tensor]) -> Images:
        """[B, K, h, w], ... -> [B, C, H, W]."""
        tokens = self.places.expand(len(maps[0]), -1, -1)
        for level, standard, reader in zip(maps, self.standards, self.readers, strict=True):
            cells = _on_grid(standard(level), self.cells).flatten(2).transpose(1, 2)  # [B, g g, K']
            tokens = tokens + reader(cells) / len(maps) ** 0.5
        for block in self.blocks:
            tokens = block(tokens)
        drawn = self.head(tokens).transpose(1, 2).reshape(len(tokens), -1, self.cells, self.cells)  # [B, C p p, g, g]
        return self.mean + functional.pixel_shuffle(drawn, self.patch)


class _Standard(nn.Module):
    """Each channel less its mean, over its deviation, as in the examples; a channel that is always the same is 0."""

    offset: Tensor  # [1, K, 1, 1]
    scale: Tensor

    def __init__(self, examples: Tensor) -> None:
        super().__init__()
        examples = examples.float()
        deviation = examples.std(dim=(0, 2, 3), correction=0, keepdim=True)
        heard = deviation > _WHISPER * deviation.max() + 1e-12
        self.register_buffer("offset", examples.mean(dim=(0, 2, 3), keepdim=True))
        self.register_buffer("scale", torch.where(heard, 1 / deviation.clamp_min(1e-12), torch.zeros_like(deviation)))

    def forward(self, level: Tensor) -> Tensor:
        return (level.float() - self.offset) * self.scale


def hole_error(drawn: Images, truth: Images, missing: Missing) -> Tensor:
    """Mean squared error over the missing pixels of a batch, []."""
    counted = missing.expand_as(truth)
    error: Tensor = ((drawn - truth).square() * counted).sum() / counted.sum()
    return error


def cells_of(side: int) -> int:
    """Cells a side: the most, up to 8, that divide a picture of `side` pixels and are not its pixels."""
    return max(cells for cells in range(1, min(_MOST_CELLS, max(side // 2, 1)) + 1) if side % cells == 0)


def maps_of(latents: Latents, view: View) -> list[Tensor]:
    """An encoder's latents as maps [B, K, h, w]; one that has no places is a single cell.

    A ViT's tokens [B, 1 + V, D] go to the places that its view says (the order of the tokens, visible ones first, as in
    types.py); where no token is, zeros. The first is told to every place.
    """
    order = next((part for part in view if part.dim() == 2 and part.dtype == torch.int64), None)
    found = []
    for level in latents:
        if level.dim() == 3 and order is not None and _squared(order.shape[1]):
            found.append(_in_place(level, order))
        else:
            found.append(level if level.dim() == 4 else level.flatten(1)[:, :, None, None])
    return found


def _in_place(tokens: Tensor, order: Tensor) -> Tensor:
    """[B, 1 + V, D] -> [B, 2 D, g, g]."""
    first, rest = tokens[:, :1], tokens[:, 1 : 1 + order.shape[1]]
    where = order[:, : rest.shape[1], None].expand_as(rest)
    placed = rest.new_zeros(len(rest), order.shape[1], rest.shape[2]).scatter(1, where, rest)
    side = math.isqrt(order.shape[1])
    both = torch.cat([placed, first.expand_as(placed)], dim=2)
    return both.transpose(1, 2).reshape(len(both), -1, side, side)


def _on_grid(level: Tensor, cells: int) -> Tensor:
    """[B, K, h, w] -> [B, K', g, g]; nothing is averaged away."""
    height, width = level.shape[-2:]
    if height <= cells and width <= cells:
        return level if height == width == cells else functional.interpolate(level, size=(cells, cells))
    finer = cells * -(-max(height, width) // cells)  # the next multiple of the grid
    if (height, width) != (finer, finer):
        level = functional.interpolate(level, size=(finer, finer), mode="bilinear", align_corners=False)
    return functional.pixel_unshuffle(level, finer // cells)


def _squared(count: int) -> bool:
    return math.isqrt(count) ** 2 == count
