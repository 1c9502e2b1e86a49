"""Free-form brush, after Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019, Algorithm 1.

A brush is drawn over the picture from corner to corner, each picture its own way. Theirs stops after a drawn number of
corners; ours paints until the same number of grid cells is gone on every image, and where its way ends too early the
stroke grows wider, so that an encoder which sees whole cells sees equally many of each.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.types import Images, Missing

_DOTS = 16  # of the brush between two corners: under a cell apart on grids of up to 32 x 32


class FreeForm(Corruption, kind="free_form"):
    """Take away brush strokes, rounded to cells of a grid."""

    patch: int = Field(2, gt=0, description="side of a grid cell, pixels; must divide the image size")
    ratio: float = Field(0.3, gt=0, lt=1, description="share of cells that is taken away")
    corners: int = Field(8, gt=0, description="turns the brush takes at most")
    length: float = Field(0.5, gt=0, le=1, description="longest way between two corners, of the image's side")
    brush: float = Field(0.06, gt=0, lt=1, description="radius of the brush, of the image's side")

    def missing(self, images: Images, draws: Draws) -> Missing:
        """[B, 1, H, W], the same number of cells on every image. Raises ParamsError if the grid does not fit."""
        height, width = images.shape[-2:]
        rows, columns = self._grid(height, width)
        hidden = min(max(math.floor(self.ratio * rows * columns + 0.5), 1), rows * columns - 1)
        first = self._order(self._corners(draws), rows, columns).argsort(dim=1, stable=True)[:, :hidden]
        gone = torch.zeros(len(images), rows * columns, dtype=torch.bool, device=images.device)
        gone.scatter_(1, first.to(images.device), True)
        grid = gone.view(-1, 1, rows, columns)
        return grid.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)  # [B, 1, H, W]

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        if height % self.patch or width % self.patch:
            raise ParamsError(
                f"corruption 'free_form': patch {self.patch} does not divide the image size {height} x {width}"
            )
        rows, columns = height // self.patch, width // self.patch
        if rows * columns < 2:
            raise ParamsError(
                f"corruption 'free_form': patch {self.patch} is the whole image; a smaller one leaves something visible"
            )
        return rows, columns

    def _corners(self, draws: Draws) -> Tensor:
        """Where the brush turns, [B, corners + 1, 2] in units of the side; at an edge it is thrown back."""
        angle = 2 * math.pi * draws.at("angle").uniform(self.corners)
        way = self.length * draws.at("way").uniform(self.corners)
        steps = torch.stack([way * angle.sin(), way * angle.cos()], dim=2)  # [B, corners, 2]
        free = torch.cat([draws.at("start").uniform(1, 2), steps], dim=1).cumsum(dim=1)
        return 1 - (1 - free.remainder(2)).abs()

    def _order(self, corners: Tensor, rows: int, columns: int) -> Tensor:
        """When the brush comes to each cell; cells it never comes to follow, the nearest first. [B, cells]."""
        down = (torch.arange(rows, device=corners.device) + 0.5) / rows
        along = (torch.arange(columns, device=corners.device) + 0.5) / columns
        cells = torch.cartesian_prod(down, along)  # [cells, 2]
        share = torch.arange(_DOTS, device=corners.device)[None, :, None] / _DOTS
        clock = torch.arange(float(_DOTS), device=corners.device)[None, :, None]
        never = float(self.corners * _DOTS)
        reached = torch.full((len(corners), len(cells)), never, device=corners.device)
        nearest = torch.full_like(reached, math.inf)
        for turn in range(self.corners):
            here, there = corners[:, turn, None], corners[:, turn + 1, None]
            dots = here + share * (there - here)  # [B, dots, 2]
            away = (dots[:, :, None] - cells).square().sum(dim=3)  # [B, dots, cells], squared
            when = torch.where(away <= self.brush**2, turn * _DOTS + clock, never)
            reached = torch.minimum(reached, when.amin(dim=1))
            nearest = torch.minimum(nearest, away.amin(dim=1))
        return torch.where(reached < never, reached, never + nearest)
