"""Half a picture, as in Li et al., "Machine Unlearning for Image-to-Image Models", ICLR 2024 (their code's four sides).

Also a task of Lugmayr et al., "RePaint", CVPR 2022.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.types import Images, Missing


class Half(Corruption, kind="half"):
    """Take away one half. No randomness: the hole is the same on every image."""

    fixed: ClassVar[bool] = True

    side: Literal["left", "right", "up", "down"] = Field("right", description="the half that is taken away")

    def missing(self, images: Images, draws: Draws) -> Missing:
        """[B, 1, H, W]; of an odd size the smaller half. Raises ParamsError if the image is one pixel wide."""
        axis = -1 if self.side in ("left", "right") else -2
        size = images.shape[axis]
        if size < 2:
            raise ParamsError(f"corruption 'half': an image of {size} pixel has no half; 2 or more is right")
        start = 0 if self.side in ("left", "up") else size - size // 2
        gone = torch.zeros(len(images), 1, *images.shape[-2:], dtype=torch.bool, device=images.device)
        gone.narrow(axis, start, size // 2).fill_(True)
        return gone
