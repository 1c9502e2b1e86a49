"""Random patches, the training corruption of He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.

Every image loses the same number of square patches, each image its own.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field

from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.types import Images, Missing


class RandomPatches(Corruption, kind="random_patches"):
    """Take away a share of the patches of a grid, drawn anew for every image."""

    patch: int = Field(2, gt=0, description="side of a patch, pixels; must divide the image size")
    ratio: float = Field(0.5, gt=0, lt=1, description="share of patches that is taken away")

    def missing(self, images: Images, draws: Draws) -> Missing:
        """[B, 1, H, W], the same number of patches on every image. Raises ParamsError if the grid does not fit."""
        height, width = images.shape[-2:]
        if height % self.patch or width % self.patch:
            raise ParamsError(
                f"corruption 'random_patches': patch {self.patch} does not divide the image size {height} x {width}"
            )
        rows, columns = height // self.patch, width // self.patch
        patches = rows * columns
        if patches < 2:
            raise ParamsError(
                f"corruption 'random_patches': patch {self.patch} is the whole image of {height} x {width}; "
                f"take a smaller one, so that something stays visible"
            )
        hidden = min(max(math.floor(self.ratio * patches + 0.5), 1), patches - 1)
        first = draws.uniform(patches).argsort(dim=1)[:, :hidden]  # [B, hidden]
        gone = torch.zeros(len(images), patches, dtype=torch.bool, device=images.device)
        gone.scatter_(1, first.to(images.device), True)
        grid = gone.view(-1, 1, rows, columns)
        return grid.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)  # [B, 1, H, W]
