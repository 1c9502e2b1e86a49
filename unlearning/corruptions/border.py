"""Border (uncropping, outpainting), as in Li et al., "Machine Unlearning for Image-to-Image Models", ICLR 2024.

At 256 pixels `sixteenths` r hides a band of 16 r pixels, r patches of 16, along each side. The released code counts the
two bands of an axis together: its ratio r / 16 is a band of 8 r pixels, so that its 8 / 16 is our 4.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.types import Images, Missing


class Border(Corruption, kind="border"):
    """Take away a band along all four sides: the generator must draw what lies outside the crop."""

    fixed: ClassVar[bool] = True

    sixteenths: int = Field(4, ge=1, le=7, description="width of the band on each side, sixteenths of the image's side")

    def missing(self, images: Images, draws: Draws) -> Missing:
        """[B, 1, H, W], the same on every image. Raises ParamsError if nothing would stay visible."""
        height, width = images.shape[-2:]
        high, wide = self._band(height), self._band(width)
        gone = torch.ones(len(images), 1, height, width, dtype=torch.bool, device=images.device)
        gone[:, :, high : height - high, wide : width - wide] = False
        return gone

    def _band(self, size: int) -> int:
        if size < 3:
            raise ParamsError(
                f"corruption 'border': an image of {size} pixels a side has no inside; 3 or more is right"
            )
        return min(max(round(self.sixteenths * size / 16), 1), (size - 1) // 2)
