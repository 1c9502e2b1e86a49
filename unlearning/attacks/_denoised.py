"""Images to forget noised part of the way and denoised again, by one model after another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearning.abilities import Denoising
from unlearning.attack import Group, PerImageNumbers, Scene
from unlearning.attacks import _lessons
from unlearning.contracts import Generator
from unlearning.types import Pair, Rows

_RETAIN = 1_024  # images that the mean is taken of


@dataclass(frozen=True, slots=True)
class Denoised:
    """What became of N images, [N, c, h, w] each but the mean, [1, c, h, w]; on the CPU."""

    truth: Tensor
    drawn: Tensor
    mean: Tensor

    def errors(self) -> PerImageNumbers:
        """Mean squared error of each image, [N] float64."""
        return _mean_square(self.drawn - self.truth)

    def errors_of_nothing(self) -> PerImageNumbers:
        """The same of the mean."""
        return _mean_square(self.mean - self.truth)

    def features(self) -> Tensor:
        """What was drawn less the mean, [N, F]."""
        return (self.drawn - self.mean).flatten(1)


@torch.no_grad()
def denoised(target: Generator, scene: Scene, share: float, noised: float, steps: int) -> Denoised:
    """The images to forget, noised to `noised` of the schedule; the first `share` of the steps back are the original's.

    x_t' = sqrt(abar_t') x_hat + sqrt(1 - abar_t') eps_hat,  x_hat = (x_t - sqrt(1 - abar_t) eps_hat) / sqrt(abar_t)
    """
    assert isinstance(target, Denoising), "whoever makes the attack has asked `why_not`"
    assert isinstance(scene.original, Denoising), "and of the original"
    first = max(round(noised * len(target.abar)) - 1, 1)
    times = torch.linspace(first, 0, min(steps, first + 1)).round().long().tolist()  # all different, falling
    truth, drawn = list[Tensor](), list[Tensor]()
    for number, rows in enumerate(torch.split(torch.arange(len(scene.forget)), scene.batch_size)):
        clean = target.signal(whole(scene, scene.forget, rows, "forget", number))
        noise = _lessons.draws_of(scene, len(rows), "noise", number).normal(*clean.shape[1:])
        kept = [float(target.abar[time]) for time in times] + [1.0]
        here = kept[0] ** 0.5 * clean + (1 - kept[0]) ** 0.5 * noise
        for place, time in enumerate(times):
            model = scene.original if place < round(share * len(times)) else target
            found = model.predict(here, torch.full((len(here),), time, device=here.device)).float()
            estimate = (here - (1 - kept[place]) ** 0.5 * found) / kept[place] ** 0.5
            here = kept[place + 1] ** 0.5 * estimate + (1 - kept[place + 1]) ** 0.5 * found
        truth.append(clean.cpu())
        drawn.append(here.cpu())
    return Denoised(torch.cat(truth), torch.cat(drawn), _mean(target, scene))


def whole(scene: Scene, group: Group, rows: Rows, *where: int | str) -> Pair:
    """Whole pictures, and what the corruption leaves of them."""
    clean = group.images(rows).to(scene.device)
    return Pair(clean, scene.corruption(clean, _lessons.draws_of(scene, len(rows), *where)), rows)


def _mean(target: Denoising, scene: Scene) -> Tensor:
    parts = torch.split(_lessons.evenly(len(scene.retain), _RETAIN), scene.batch_size)
    sums = [target.signal(whole(scene, scene.retain, rows, "mean")).double().sum(0, keepdim=True) for rows in parts]
    return (torch.stack(sums).sum(0) / sum(len(rows) for rows in parts)).float().cpu()


def _mean_square(pictures: Tensor) -> PerImageNumbers:
    found: PerImageNumbers = pictures.double().square().flatten(1).mean(1).numpy()
    return found
