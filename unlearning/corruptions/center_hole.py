"""Centre hole (inpainting), as in Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024.

Their tasks, at 256 pixels and in patches of 16: `side` 0.25 hides 4 x 4 patches, `side` 0.5 hides 8 x 8. Both holes lie
on the grid of the patches, so that an encoder of whole patches loses no more than the hole.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.types import Images, Missing


class CenterHole(Corruption, kind="center_hole"):
    """Take away a square in the middle. No randomness: the hole is the same on every image."""

    fixed: ClassVar[bool] = True

    side: float = Field(0.5, gt=0, lt=1, description="side of the hole, of the image's side; 0.25 and 0.5 published")
    pixels: int | None = Field(None, gt=0, description="side of the hole in pixels; if given, `side` is not used")

    def missing(self, images: Images, draws: Draws) -> Missing:
        """[B, 1, H, W]. Raises ParamsError if the hole is as large as the image."""
        height, width = images.shape[-2:]
        high, wide = self._hole(height), self._hole(width)
        top, left = (height - high) // 2, (width - wide) // 2
        gone = torch.zeros(len(images), 1, height, width, dtype=torch.bool, device=images.device)
        gone[:, :, top : top + high, left : left + wide] = True
        return gone

    def _hole(self, size: int) -> int:
        if self.pixels is None:
            return min(max(round(self.side * size), 1), size - 1)
        if self.pixels >= size:
            raise ParamsError(
                f"corruption 'center_hole': a hole of {self.pixels} pixels leaves nothing of an image of {size}; "
                f"at most {size - 1} is right"
            )
        return self.pixels
