"""Super-resolution by block averages, as in Kawar et al., "Denoising Diffusion Restoration Models", NeurIPS 2022.

    T(x) = the mean of each factor x factor block, at every pixel of the block

Saharia et al. (SR3, Palette) shrink and stretch by cubic curves instead; those reach beyond the range of images and mix
neighbouring blocks, while a block's mean is all that is known of it and T(T(x)) = T(x). Every pixel is missing: even
where the picture is flat, the generator must say so.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch.nn import functional

from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.types import Images


class Downsample(Corruption, kind="downsample"):
    """Leave a coarser picture, stretched back to the size of the image. No randomness."""

    fixed: ClassVar[bool] = True
    degrades: ClassVar[bool] = True

    factor: int = Field(4, ge=2, description="pixels a side that become one; must divide the image size; search 2 to 8")

    def degraded(self, images: Images) -> Images:
        """[B, C, H, W]. Raises ParamsError if the blocks do not fit."""
        height, width = images.shape[-2:]
        if height % self.factor or width % self.factor:
            raise ParamsError(
                f"corruption 'downsample': factor {self.factor} does not divide the image size {height} x {width}; "
                f"one that does is right"
            )
        means = functional.avg_pool2d(images, self.factor)  # [B, C, H / factor, W / factor]
        return means.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)
