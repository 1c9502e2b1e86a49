"""How well can one tell, from what is left visible, that a picture is one to forget?

A method that forgets by recognising must tell the forget images by T(x) alone. On images it never trained on, what it
takes for one to forget is drawn wrongly. So at a threshold, where all images weigh the same, forgetting is the share of
forget images found (true positive rate), and retention one minus the share of retained images taken for them (false
positive rate). A classifier of T(x) shows where that curve lies: its area, and the true positive rate at a false
positive rate of 3 %, the retention of 0.97 that the target leaves. It is an estimate from below: a better classifier
sees more. And it binds recognising only: a picture may also be spoilt for every image alike, or by what it looks like.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unlearning import files
from unlearning.contracts import Corruption, ImageSource
from unlearning.log import Log, Progress
from unlearning.metrics._separation import auc, true_positive_rate
from unlearning.randomness import Draws, generator
from unlearning.types import Corrupted

VERSION = 1  # of the network and its training: part of the name of what is cached
FALSE_POSITIVES = 0.03  # what recognising may cost
_CURVE = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
_WIDTHS = (32, 56, 88)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sight:
    """A classifier of corrupted images T(x), and how it is trained: AdamW, one cycle, a new hole every step."""

    names: Sequence[str]  # the classes, in the order of the logits
    corruption: Corruption
    steps: int
    batch_size: int
    learning_rate: float
    flip: bool
    device: torch.device

    def trained(self, images: ImageSource, labels: Sequence[str], cache: Path, log: Log) -> nn.Module:
        """The network, from `cache` if that file is there: the caller names it by all that it depends on."""
        channels, size = images(torch.tensor([0])).shape[1:3]
        if not cache.is_file():
            network = self._train(images, np.searchsorted(self.names, labels), channels, size, log)
            files.write_bytes(cache, save({name: value.cpu() for name, value in network.state_dict().items()}))
        network = _Residual(channels, len(self.names), size)
        network.load_state_dict(load_file(cache))
        return network.eval().to(self.device)

    @torch.inference_mode()
    def logits(self, network: nn.Module, images: ImageSource) -> Tensor:
        """[N, classes] float32, one hole an image."""
        found = []
        for start in range(0, len(images), 256):
            rows = torch.arange(start, min(start + 256, len(images)))
            draws = Draws(0, len(rows), first=start, total=len(images), where=("ceiling", "held out"))
            found.append(network(_shown(self.corruption(images(rows), draws)).to(self.device)).cpu())
        return torch.cat(found)

    def _train(self, images: ImageSource, labels: np.ndarray, channels: int, size: int, log: Log) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = _Residual(channels, len(self.names), size).to(self.device).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=0.05)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
        targets = torch.from_numpy(labels)
        for step in range(self.steps):
            rng = generator(0, "ceiling", step)
            rows = torch.randint(len(images), (self.batch_size,), generator=rng)
            clean = images(rows)
            if self.flip:
                mirrored = torch.rand(self.batch_size, generator=rng) < 0.5
                clean = torch.where(mirrored[:, None, None, None], clean.flip(-1), clean)
            shown = _shown(self.corruption(clean, Draws(0, self.batch_size, where=("ceiling", step))))
            loss = F.cross_entropy(network(shown.to(self.device)), targets[rows].to(self.device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cycle.step()
            if (step + 1) % 50 == 0:
                log(Progress("ceiling", step + 1, self.steps, {"loss": float(loss.detach())}))
        return network


def recognised(logits: Tensor, labels: Sequence[str], names: Sequence[str], forget: Collection[str]) -> dict[str, Any]:
    """What the logits [N, classes] of held-out images say of the `forget` classes, as JSON values.

    top_1 and balanced_accuracy are over all classes; auc, recall and curve tell forget images from all others by the
    probability that any forget class is given. Without images of both kinds those are None.
    """
    truth = np.searchsorted(names, labels)
    hits = logits.argmax(1).numpy() == truth
    mass = logits.double().softmax(1)[:, [name in forget for name in names]].sum(1).numpy()
    positive = np.array([label in forget for label in labels], dtype=bool)
    found: dict[str, Any] = {
        "images": len(hits),
        "classes": len(names),
        "top_1": float(hits.mean()),
        "balanced_accuracy": float(np.mean([hits[truth == label].mean() for label in np.unique(truth)])),
        "false_positive_rate": FALSE_POSITIVES,
        "auc": None,
        "recall": None,
        "curve": None,
    }
    if positive.any() and not positive.all():
        found["auc"] = auc(mass[positive], mass[~positive])
        found["recall"] = true_positive_rate(mass[positive], mass[~positive], FALSE_POSITIVES)
        found["curve"] = [[at, true_positive_rate(mass[positive], mass[~positive], at)] for at in _CURVE]
    return found


def _shown(corrupted: Corrupted) -> Tensor:
    """[B, C + 1, H, W]: T(x) and where it took something away."""
    return torch.cat([corrupted.images, corrupted.missing.to(corrupted.images.dtype)], dim=1)


class _Residual(nn.Module):
    """Three stages of one residual block each, about 280,000 parameters at 3 channels and 10 classes."""

    def __init__(self, channels: int, classes: int, size: int) -> None:
        super().__init__()
        # Small pictures keep their resolution in the first stage: 8 x 8 halved three times would be one pixel.
        strides = (2 if size >= 16 else 1, 2, 2)
        widths = (channels + 1, *_WIDTHS)
        self.stages = nn.Sequential(
            *(_Stage(widths[place], widths[place + 1], stride) for place, stride in enumerate(strides))
        )
        self.head = nn.Linear(_WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(images).mean((2, 3)))
        return logits


class _Stage(nn.Module):
    """A strided convolution, then x + f(x)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(_convolution(before, width, stride), nn.BatchNorm2d(width), nn.ReLU())
        self.inside = nn.Sequential(
            _convolution(width, width), nn.BatchNorm2d(width), nn.ReLU(), _convolution(width, width),
            nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        entered: Tensor = self.enter(images)
        return F.relu(entered + self.inside(entered))


def _convolution(before: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
