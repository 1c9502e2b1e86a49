"""Nothing is shown: unconditional sampling, as in Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS 2020.

    T(x) = 0, the middle grey, at every pixel

An unconditional model as an image-to-image generator: it invents the whole picture from the draws. What it draws is a
picture of its own and no reconstruction of x, so errors against x say nothing about forgetting: `evaluate` asks how
well it knows x instead (`abilities.Scoring`), and measures no score of a model that cannot say. To measure how well
such a model completes pictures, set evaluate.corruption to a hole.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from unlearning.contracts import Corruption
from unlearning.types import Images


class Everything(Corruption, kind="everything"):
    """Take the whole picture away. No randomness."""

    fixed: ClassVar[bool] = True
    degrades: ClassVar[bool] = True
    leaves_nothing: ClassVar[bool] = True

    def degraded(self, images: Images) -> Images:
        """[B, C, H, W] of zeros."""
        return torch.zeros_like(images)
