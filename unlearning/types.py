"""The values that travel between rooms. Nothing here computes beyond stacking along the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Images: TypeAlias = Tensor  # [B, C, H, W] float32 in [-1, 1]
Missing: TypeAlias = Tensor  # [B, 1, H, W] bool, True = the generator must invent this pixel
Latents: TypeAlias = tuple[Tensor, ...]  # each [B, ...]: a ViT has one map, a U-Net encoder one per level
PerImage: TypeAlias = Tensor  # [B] float32
Rows: TypeAlias = Tensor  # [B] int64, the row of each image in its manifest
View: TypeAlias = tuple[Tensor, ...]  # one pass's randomness, each [B, ...]: MAE (order,), diffusion (t, noise)


@dataclass(frozen=True, slots=True)
class Sample:
    """Clean images of one set, and where they stand in its manifest. May be empty: [0, C, H, W]."""

    images: Images
    rows: Rows


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one step reads from disk, before any corruption."""

    forget: Sample
    retain: Sample


@dataclass(frozen=True, slots=True)
class Corrupted:
    """What the generator is allowed to see: T(x), and where T took something away."""

    images: Images
    missing: Missing

    def joined(self, other: Corrupted) -> Corrupted:
        """Both along the batch."""
        return Corrupted(torch.cat([self.images, other.images]), torch.cat([self.missing, other.missing]))


@dataclass(frozen=True, slots=True)
class Pair:
    """Clean images and their corrupted view, T(x)."""

    clean: Images
    corrupted: Corrupted
    rows: Rows

    def __len__(self) -> int:
        return len(self.clean)

    def joined(self, other: Pair) -> Pair:
        """Both along the batch: one forward pass instead of two."""
        return Pair(
            torch.cat([self.clean, other.clean]),
            self.corrupted.joined(other.corrupted),
            torch.cat([self.rows, other.rows]),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's worth of both sets. `retain` may be drawn from the proxy retain set; `forget` may be empty."""

    forget: Pair
    retain: Pair


@dataclass(frozen=True, slots=True)
class Terms:
    """A method's two voices: per image, unweighted, unreduced. An absent voice has length 0."""

    forget: PerImage
    retain: PerImage


def joined_view(first: View, second: View) -> View:
    """Two views along the batch."""
    return tuple(torch.cat([a, b]) for a, b in zip(first, second, strict=True))
