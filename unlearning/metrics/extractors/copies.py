"""Copy detection: SSCD (Pizzi et al., "A Self-Supervised Descriptor for Image Copy Detection", CVPR 2022).

From the TorchScript file that its authors publish, `sscd_*.torchscript.pt`, on ImageNet-normalised pictures of
288 x 288 pixels.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearning.errors import CheckpointError
from unlearning.metrics.extractors import weights
from unlearning.metrics.extractors.extractor import Extractor, as_rgb
from unlearning.types import Images

FILES = ("sscd_*.torchscript.pt",)
_SIDE = 288  # pixels, as published
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(device: torch.device, named: Path | None = None) -> Extractor | str:
    """SSCD's descriptor; the reason where its file is not on this machine. Raises CheckpointError if it is damaged."""
    found = weights.find(FILES, named)
    if isinstance(found, str):
        return found
    try:
        with warnings.catch_warnings():
            # TorchScript is what is published; that torch would rather have another format changes nothing about it.
            warnings.filterwarnings("ignore", message=".*torch.jit.load.*is deprecated", category=Warning)
            network = torch.jit.load(str(found.path), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{found.path.name}: not a TorchScript archive ({reason})") from None
    return Extractor(f"SSCD ({found.path.name})", found.sha256, _Shown(network).eval().to(device), device)


class _Shown(nn.Module):
    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", _MEAN), ("deviation", _DEVIATION)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Images) -> Tensor:
        pictures = ((as_rgb(images) + 1) / 2 - self.mean) / self.deviation
        shown = F.interpolate(pictures, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False, antialias=True)
        features: Tensor = self.network(shown)
        return features
