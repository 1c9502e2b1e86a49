"""A small classifier trained on the data set itself: features for a machine that has no published weights.

Never comparable with a published network's, so every table names it and the sha256 of its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unlearning import digests, files
from unlearning.contracts import Corruption, ImageSource
from unlearning.metrics._missing import only_missing
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.randomness import Draws, generator
from unlearning.types import Images

_STEPS, _BATCH, _WIDTH = 300, 128, 32


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


class _Depths(nn.Module):
    """The maps after each of the classifier's three convolutions."""

    def __init__(self, classifier: _Classifier) -> None:
        super().__init__()
        self.stages = nn.ModuleList(classifier.body[place : place + 2] for place in (0, 2, 4))

    def forward(self, images: Images) -> tuple[Tensor, ...]:
        found = [images]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return tuple(found[1:])


def train(
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
    """The classifier whose weights `train` kept at `path`."""
    weights = load_file(path)
    channels, classes = weights["body.0.weight"].shape[1], len(weights["head.weight"])
    network = _Classifier(channels, classes)
    network.load_state_dict(weights)
    name = f"classifier of {classes} classes trained on this data set ({_WIDTH} features); not an FID"
    network.eval().to(device)
    return Extractor(name, digests.of_file(path), network, device, network.head, _Depths(network))


def as_bytes(extractor: Extractor) -> bytes | None:
    """The weights of a classifier trained here, as `of_file` reads them; None for published ones: who needs them
    has them."""
    if not isinstance(extractor.network, _Classifier):
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
