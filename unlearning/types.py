"""The values that travel between rooms. Nothing here computes beyond stacking along the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Images: TypeAlias = Tensor  # [B, C, H, W] float32 in [-1, 1]
Missing: TypeAlias = Tensor  # [B, 1, H, W] bool, True = the generator must invent this pixel
Latents: TypeAlias = tuple[Tensor, ...]  # each [B, ...]: a ViT has one map, a U-Net encoder one per level
PerImage: TypeAlias = Tensor  # [B] float32
SetName: TypeAlias = Literal["forget", "retain"]
Rows: TypeAlias = Tensor  # [B] int64, the row of each image in its manifest
View: TypeAlias = tuple[Tensor, ...]  # one pass's randomness, each [B, ...]: MAE (order,), diffusion (t, noise)


@dataclass(frozen=True, slots=True)
class Known:
    """What was computed before and comes with the images. Nothing here is needed: it spares work, never changes it."""

    constant: Tensor | None = None  # [B, ...] `Generator.constants` of the pair
    target: Latents | None = None  # the original's encoding of the pair, under the only view it has

    def joined(self, other: Known) -> Known:
        """Constants along the batch where both are known. Targets are of one set, and stay behind."""
        if self.constant is None or other.constant is None:
            return Known()
        return Known(torch.cat([self.constant, other.constant]))

    def part(self, rows: slice) -> Known:
        """Of some of the images."""
        constant = None if self.constant is None else self.constant[rows]
        return Known(constant, None if self.target is None else tuple(level[rows] for level in self.target))

    def to(self, device: torch.device) -> Known:
        """On another device."""
        constant = None if self.constant is None else self.constant.to(device, non_blocking=True)
        target = None if self.target is None else tuple(level.to(device, non_blocking=True) for level in self.target)
        return Known(constant, target)


@dataclass(frozen=True, slots=True)
class Sample:
    """Clean images of one set, and where they stand in its manifest. May be empty: [0, C, H, W]."""

    images: Images
    rows: Rows
    mirrored: Tensor | None = None  # [B] bool, which of them were turned left to right; None = none
    known: Known = Known()

    def part(self, rows: slice) -> Sample:
        """Some of the images."""
        mirrored = None if self.mirrored is None else self.mirrored[rows]
        return Sample(self.images[rows], self.rows[rows], mirrored, self.known.part(rows))


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one step reads from disk, before any corruption."""

    forget: Sample
    retain: Sample

    def __len__(self) -> int:
        """Rows of a set that is not absent."""
        return max(len(self.forget.rows), len(self.retain.rows))

    def part(self, rows: slice) -> Drawn:
        """The same rows of both sets; an empty one stays empty."""
        return replace(self, forget=self.forget.part(rows), retain=self.retain.part(rows))


@dataclass(frozen=True, slots=True)
class Corrupted:
    """What the generator is allowed to see: T(x), and where T took something away.

    Everything may be missing: then `images` are no picture with a hole, but what T left of the whole of it.
    """

    images: Images
    missing: Missing
    degraded: Callable[[Images], Images] | None = None  # T itself, where it left something of every pixel

    def joined(self, other: Corrupted) -> Corrupted:
        """Both along the batch."""
        images, missing = torch.cat([self.images, other.images]), torch.cat([self.missing, other.missing])
        return Corrupted(images, missing, self.degraded or other.degraded)

    def of(self, picture: Images) -> Corrupted:
        """T of another picture [B, C, H, W], under the same holes."""
        left = picture.masked_fill(self.missing, 0.0) if self.degraded is None else self.degraded(picture)
        return replace(self, images=left)


@dataclass(frozen=True, slots=True)
class Pair:
    """Clean images and their corrupted view, T(x)."""

    clean: Images
    corrupted: Corrupted
    rows: Rows
    known: Known = Known()

    def __len__(self) -> int:
        return len(self.clean)

    def joined(self, other: Pair) -> Pair:
        """Both along the batch: one forward pass instead of two."""
        if not len(self) or not len(other):  # an absent set knows nothing, and must not make the other forget
            known = (other if len(other) else self).known
        else:
            known = self.known.joined(other.known)
        return Pair(
            torch.cat([self.clean, other.clean]),
            self.corrupted.joined(other.corrupted),
            torch.cat([self.rows, other.rows]),
            known,
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
