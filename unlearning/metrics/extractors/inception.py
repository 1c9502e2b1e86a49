"""pytorch-fid's Inception-V3, the features of the published FID.

Pictures are rounded to 8 bits first, half to even, as whoever writes PNG files and measures those does: the values are
those of pytorch-fid's own command line on such files (up to float32 rounding: batch normalisations are folded into the
convolutions before them, and memory is laid out channels last). Resizing is pytorch-fid's, bilinear to 299 x 299.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearning.errors import CheckpointError
from unlearning.metrics.extractors import weights
from unlearning.metrics.extractors.extractor import Extractor, as_rgb
from unlearning.types import Images

FILE = "pt_inception-2015-12-05-6726825d.pth"
_SIDE = 299  # pixels
_POOL3 = 2048
_CHUNK = 8  # pictures at a time on a CPU: what a layer makes of them stays in its cache


def load(device: torch.device, named: Path | None = None, width: int = _POOL3) -> Extractor | str:
    """Features [B, width], width one of 64, 192, 768 and 2048 (pool3); the reason where there are no weights."""
    found = weights.find((FILE,), named)
    if isinstance(found, str):
        return found
    return of(found, device, width)


def of(found: weights.Found, device: torch.device, width: int = _POOL3) -> Extractor:
    """Of one file. Raises CheckpointError if it is damaged or of another layout."""
    network = _Inception(found, width).eval().to(device).to(memory_format=torch.channels_last)
    name = (
        "pytorch-fid Inception-V3 (pool3, 2048)" if width == _POOL3 else f"pytorch-fid Inception-V3 ({width} features)"
    )
    return Extractor(name, found.sha256, network, device, network.head)


class _Inception(nn.Module):
    def __init__(self, found: weights.Found, width: int) -> None:
        from pytorch_fid import inception  # loads torchvision: only where its weights are
        from torch.fx.experimental.optimization import fuse

        super().__init__()
        tensors = found.tensors
        # pytorch-fid builds the network around its own download; it is handed the file that was checked instead.
        handed = mock.patch.object(inception, "load_state_dict_from_url", return_value=tensors)
        try:
            with torch.random.fork_rng(devices=[]), handed:
                published = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[width]])
            self.head = _classes(tensors) if width == _POOL3 else None
        except (KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{found.path.name}: not the layout that its name promises ({reason})") from None
        self.blocks = fuse(nn.Sequential(*published.blocks).eval())

    def forward(self, images: Images) -> Tensor:
        chunk = len(images) if images.is_cuda else _CHUNK
        return torch.cat([self._pooled(part) for part in torch.split(images, max(chunk, 1))])

    def _pooled(self, images: Images) -> Tensor:
        """[B, C, H, W] in [-1, 1] -> [B, F]."""
        levels = ((as_rgb(images) + 1) * 127.5).round().clamp(0, 255)
        large = F.interpolate(levels / 255, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        found: Tensor = self.blocks((2 * large - 1).contiguous(memory_format=torch.channels_last))
        return F.adaptive_avg_pool2d(found, 1).flatten(1)


def _classes(tensors: Mapping[str, Tensor]) -> nn.Linear:
    """The published network's own last layer, [B, 2048] -> [B, 1008]."""
    classes, width = tensors["fc.weight"].shape
    head = nn.Linear(width, classes)
    head.load_state_dict({name: tensors[f"fc.{name}"] for name in ("weight", "bias")})
    return head
