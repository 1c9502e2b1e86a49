"""Random box, the rectangle of Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.

Every image loses a rectangle of its own, of equal area on all of them: only rectangles that make up exactly the same
number of grid cells are drawn, so that an encoder which sees whole cells sees equally many of each.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.types import Images, Missing


class Box(Corruption, kind="box"):
    """Take away a rectangle of fixed area; its shape and place are drawn anew for every image."""

    patch: int = Field(2, gt=0, description="side of a grid cell, pixels; must divide the image size")
    ratio: float = Field(0.25, gt=0, lt=1, description="share of the image; the nearest area that rectangles have")
    aspect: float = Field(4.0, ge=1, description="longest side of a rectangle over its shortest, in cells, at most")

    def missing(self, images: Images, draws: Draws) -> Missing:
        """[B, 1, H, W]. Raises ParamsError if the grid does not fit."""
        height, width = images.shape[-2:]
        if height % self.patch or width % self.patch:
            raise ParamsError(f"corruption 'box': patch {self.patch} does not divide the image size {height} x {width}")
        rows, columns = height // self.patch, width // self.patch
        shapes = torch.tensor(self._shapes(rows, columns), device=draws.device)  # [S, 2]
        chosen = shapes[draws.at("shape").integers(len(shapes))]  # [B, 2]
        room = torch.tensor([rows, columns], device=draws.device) - chosen + 1  # places along each side
        first = (draws.at("place").uniform(2) * room).floor().long()
        down = _between(rows, first[:, 0], chosen[:, 0])  # [B, rows]
        along = _between(columns, first[:, 1], chosen[:, 1])  # [B, columns]
        grid = (down[:, None, :, None] & along[:, None, None, :]).to(images.device)
        return grid.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)  # [B, 1, H, W]

    def _shapes(self, rows: int, columns: int) -> list[tuple[int, int]]:
        """Every (height, width) in cells of the one area that is nearest to `ratio`."""
        fitting = [
            (high, wide)
            for high in range(1, rows + 1)
            for wide in range(1, columns + 1)
            if high * wide < rows * columns and max(high, wide) <= self.aspect * min(high, wide)
        ]
        if not fitting:
            raise ParamsError(
                f"corruption 'box': patch {self.patch} is the whole image; a smaller one leaves something visible"
            )
        wanted = self.ratio * rows * columns
        area = min((high * wide for high, wide in fitting), key=lambda cells: (abs(cells - wanted), cells))
        return [shape for shape in fitting if shape[0] * shape[1] == area]


def _between(size: int, first: Tensor, length: Tensor) -> Tensor:
    """Which of `size` cells lie in first .. first + length: [B, size]."""
    place = torch.arange(size, device=first.device)[None]
    return (place >= first[:, None]) & (place < (first + length)[:, None])
