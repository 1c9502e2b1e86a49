"""The pixel scale a network was trained on. Ours is [-1, 1] everywhere outside a network."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from unlearning.errors import ParamsError
from unlearning.types import Images

Scale: TypeAlias = Literal["signed", "unit", "imagenet"]

# Mean and deviation of ImageNet's RGB, images in [0, 1].
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PixelScale(nn.Module):
    """signed: as they come, [-1, 1]. unit: [0, 1]. imagenet: [0, 1] less ImageNet's mean, over its deviation."""

    shift: Tensor
    spread: Tensor

    def __init__(self, scale: Scale, channels: int) -> None:
        """Raises ParamsError for `imagenet` on pictures that are not RGB."""
        super().__init__()
        if scale == "imagenet" and channels != 3:
            raise ParamsError(
                f"generator: pixels 'imagenet' are RGB and the images have {channels} channel; 'signed' takes any"
            )
        shift, spread = {
            "signed": ([0.0] * channels, [1.0] * channels),
            "unit": ([-1.0] * channels, [2.0] * channels),
            "imagenet": ([2 * mean - 1 for mean in IMAGENET_MEAN], [2 * part for part in IMAGENET_DEVIATION]),
        }[scale]
        self.register_buffer("shift", torch.tensor(shift).view(1, channels, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(spread).view(1, channels, 1, 1), persistent=False)

    def forward(self, images: Images) -> Tensor:
        """[B, C, H, W] in [-1, 1] -> the network's scale."""
        return (images - self.shift) / self.spread

    def back(self, pixels: Tensor) -> Images:
        """The network's scale -> [-1, 1], not clamped."""
        return pixels * self.spread + self.shift
