"""Where features come from: pytorch-fid's Inception if its weights are on this machine, else one trained in domain.

The two are never comparable, so every table names the extractor and the sha256 of its weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unlearning import digests, files
from unlearning.contracts import Corruption, ImageSource
from unlearning.metrics._missing import only_missing
from unlearning.randomness import Draws, generator
from unlearning.types import Images

_INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
_STEPS, _BATCH, _WIDTH = 300, 128, 32


@dataclass(frozen=True, slots=True)
class Extractor:
    """A frozen network [B, C, H, W] in [-1, 1] -> features [B, F], with what a table must say about it."""

    name: str
    weights_sha256: str
    network: nn.Module
    device: torch.device
    head: nn.Module | None = None  # features [B, F] float32 -> logits [B, K], where it classifies

    @torch.inference_mode()
    def __call__(self, images: Images) -> Tensor:
        """[B, F] float64 on the CPU."""
        features: Tensor = self.network(images.to(self.device))
        return features.double().cpu()

    @torch.inference_mode()
    def probabilities(self, features: Tensor) -> Tensor | None:
        """The classes [B, K] float64 that it sees in features that it made; None where it has no head."""
        if self.head is None:
            return None
        logits: Tensor = self.head(features.float().to(self.device))
        return logits.double().softmax(1).cpu()


def inception(device: torch.device) -> Extractor | None:
    """pytorch-fid's Inception-V3, pool features [B, 2048]; None where its weights are not on this machine."""
    folder = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints"
    weights = folder / _INCEPTION_FILE
    # The file name ends in the first digits of its sha256: a file of another content is not the published network.
    if not weights.is_file() or not digests.of_file(weights).startswith(weights.stem.rsplit("-", 1)[1]):
        return None
    network = _Inception().eval().to(device)
    return Extractor("pytorch-fid Inception-V3 (pool3, 2048)", digests.of_file(weights), network, device)


class _Inception(nn.Module):
    def __init__(self) -> None:
        from pytorch_fid.inception import InceptionV3  # loads torchvision: only where its weights are

        super().__init__()
        self.network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[2048]], normalize_input=True)

    def forward(self, images: Images) -> Tensor:
        rgb = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        pooled: Tensor = self.network((rgb + 1) / 2)[0]  # [B, 2048, 1, 1]
        return pooled.flatten(1)


class _Classifier(nn.Module):
    """A small convolutional classifier; its penultimate layer is the feature [B, 32]."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(64, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(256, _WIDTH),
        )
        self.head = nn.Linear(_WIDTH, classes)

    def forward(self, images: Images) -> Tensor:
        features: Tensor = self.body(images)
        return features


def in_domain(
    images: ImageSource, labels: Sequence[str], corruption: Corruption, cache: Path, device: torch.device
) -> Extractor | None:
    """A classifier trained on the data set itself, whole and through holes; None with fewer than two classes.

    `cache` is the file its weights are kept in: the caller names it by everything they depend on.
    """
    names = sorted(set(labels))
    if len(names) < 2:
        return None
    channels = images(torch.tensor([0])).shape[1]
    if not cache.is_file():
        network = _trained(images, np.searchsorted(names, labels), corruption, channels, len(names), device)
        files.write_bytes(cache, save({name: value.cpu() for name, value in network.state_dict().items()}))
    return of_file(cache, device)


def of_file(path: Path, device: torch.device) -> Extractor:
    """The classifier whose weights `in_domain` kept at `path`."""
    weights = load_file(path)
    channels, classes = weights["body.0.weight"].shape[1], len(weights["head.weight"])
    network = _Classifier(channels, classes)
    network.load_state_dict(weights)
    name = f"classifier of {classes} classes trained on this data set ({_WIDTH} features); not an FID"
    return Extractor(name, digests.of_file(path), network.eval().to(device), device, network.head)


def as_bytes(extractor: Extractor) -> bytes | None:
    """The weights of a classifier trained here, as `of_file` reads them; None for published ones: who needs them
    has them."""
    if extractor.head is None:
        return None
    return save({name: value.cpu() for name, value in extractor.network.state_dict().items()})


def _trained(
    images: ImageSource, labels: np.ndarray, corruption: Corruption, channels: int, classes: int, device: torch.device
) -> _Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _Classifier(channels, classes).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    targets = torch.from_numpy(labels)
    for step in range(_STEPS):
        rows = torch.randint(len(images), (_BATCH,), generator=generator(0, "extractor", step))
        clean = images(rows)
        missing = corruption.missing(clean, Draws(0, rows=_BATCH, where=("extractor", step)))
        shown = only_missing(clean, missing) if step % 2 else clean
        loss = F.cross_entropy(network.head(network(shown.to(device))), targets[rows].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network
