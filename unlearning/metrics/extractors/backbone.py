"""torchvision's classifiers, from the files that torchvision publishes, and what they see at several depths.

The depths are LPIPS's for AlexNet, VGG16 and SqueezeNet (Zhang et al., CVPR 2018), and the stages of a ResNet. LPIPS's
own weights of their channels are taken where its file is here (`alex.pth`, `vgg.pth`, `squeeze.pth`, version 0.1).
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearning.errors import CheckpointError
from unlearning.metrics.extractors import weights
from unlearning.metrics.extractors.extractor import Extractor, as_rgb
from unlearning.types import Images

FILES = ("alexnet-owt-*.pth", "vgg16-*.pth", "squeezenet1_1-*.pth", "resnet*-*.pth")
# After which of `features` LPIPS looks, and the stem of the file of its weights.
_DEPTHS = {
    "alexnet": ((1, 4, 7, 9, 11), "alex"),
    "vgg16": ((3, 8, 15, 22, 29), "vgg"),
    "squeezenet1_1": ((1, 4, 7, 9, 10, 11, 12), "squeeze"),
}
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LEAST_SIDE = 64  # pixels: pooled four or five times, a smaller picture would be nothing


def load(device: torch.device, named: Path | None = None) -> Extractor | str:
    """The first that is here, in the order of FILES; the reason where none is."""
    found = weights.find(FILES, named)
    return found if isinstance(found, str) else of(found, device, named)


def of(found: weights.Found, device: torch.device, named: Path | None = None) -> Extractor:
    """Of one file, which is named as published. Raises CheckpointError if it is not what its name says."""
    import torchvision

    kind = re.split(r"-", found.path.stem)[0]
    with torch.random.fork_rng(devices=[]):
        network = weights.put(torchvision.models.get_model(kind, weights=None), found.tensors, found)
    depths, stem = _DEPTHS.get(kind, ((), ""))
    stages = _after(network, depths) if depths else _stages_of_resnet(network)
    lin = weights.find((f"{stem}.pth",), named) if stem else "no such file is published"
    channels = None if isinstance(lin, str) else _channel_weights(lin, len(stages))
    said = f"torchvision {kind} ({found.path.name})"
    if channels is not None:
        said += f" with LPIPS's weights of channels ({lin.path.name})"  # type: ignore[union-attr]
    sha256 = found.sha256
    looked_into = _Depths(stages).to(device)
    return Extractor(said, sha256, _Pooled(looked_into), device, None, looked_into, channels)


def _after(network: nn.Module, places: tuple[int, ...]) -> list[nn.Module]:
    layers = list(network.features)  # type: ignore[arg-type]
    starts = (0, *(place + 1 for place in places[:-1]))
    return [nn.Sequential(*layers[start : stop + 1]) for start, stop in zip(starts, places, strict=True)]


def _stages_of_resnet(network: nn.Module) -> list[nn.Module]:
    first = nn.Sequential(*(getattr(network, name) for name in ("conv1", "bn1", "relu", "maxpool", "layer1")))
    return [first, *(getattr(network, f"layer{number}") for number in (2, 3, 4))]


def _channel_weights(lin: weights.Found, layers: int) -> tuple[Tensor, ...]:
    """`lin0.model.1.weight` [1, C, 1, 1] and on, as LPIPS publishes them."""
    tensors = lin.tensors
    try:
        return tuple(tensors[f"lin{place}.model.1.weight"].flatten() for place in range(layers))
    except KeyError as error:
        raise CheckpointError(f"{lin.path.name}: not LPIPS's weights, it has no {error}") from None


class _Depths(nn.Module):
    """[B, C, H, W] in [-1, 1] -> one map a stage."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, stages: list[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        for name, values in (("mean", _MEAN), ("deviation", _DEVIATION)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Images) -> tuple[Tensor, ...]:
        now = ((as_rgb(images) + 1) / 2 - self.mean) / self.deviation
        if now.shape[-1] < _LEAST_SIDE:
            now = F.interpolate(now, size=(_LEAST_SIDE, _LEAST_SIDE), mode="bilinear", align_corners=False)
        found = []
        for stage in self.stages:
            now = stage(now)
            found.append(now.clone())  # a stage of torchvision's may begin with a ReLU in place
        return tuple(found)


class _Pooled(nn.Module):
    """The mean of the last map, [B, F]."""

    def __init__(self, depths: _Depths) -> None:
        super().__init__()
        self.depths = depths

    def forward(self, images: Images) -> Tensor:
        last: Tensor = self.depths(images)[-1]
        return last.mean((2, 3))
