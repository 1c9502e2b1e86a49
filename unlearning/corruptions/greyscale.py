"""Colourisation, a task of Saharia et al., "Palette: Image-to-Image Diffusion Models", SIGGRAPH 2022.

    T(x) = the mean over the channels, in every channel

The plain mean, as in Kawar et al. (NeurIPS 2022), and not a weighted luminance: it holds for any number of channels.
Every pixel is missing: the generator is shown how bright it is, and must invent its colour.
"""

from __future__ import annotations

from typing import ClassVar

from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.types import Images


class Greyscale(Corruption, kind="greyscale"):
    """Take the colour away and leave the brightness. No randomness."""

    fixed: ClassVar[bool] = True
    degrades: ClassVar[bool] = True
    least_channels: ClassVar[int] = 2

    def degraded(self, images: Images) -> Images:
        """[B, C, H, W]. Raises ParamsError for images of one channel, which have no colour to take away."""
        channels = images.shape[1]
        if channels < self.least_channels:
            raise ParamsError(
                f"corruption 'greyscale': images of {channels} channel have no colour to take away; "
                f"{self.least_channels} channels or more are right"
            )
        return images.mean(dim=1, keepdim=True).expand_as(images).contiguous()
