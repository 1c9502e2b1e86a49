"""What a model makes of single images: its own loss, what it draws into the hole, what its encoder says.

Every image is asked under the same holes and the same views (timestep, noise), drawn once: what differs between two
images is then the images, and what differs between two models their weights. A batch size changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unlearning.abilities import Denoising, Layered, Scoring
from unlearning.attack import Group, PerImageNumbers, Scene
from unlearning.attacks import _lessons
from unlearning.contracts import Generator, ImageSource
from unlearning.randomness import Draws
from unlearning.types import Images, Pair, PerImage, Rows

Features: TypeAlias = npt.NDArray[np.float64]  # [N, F]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the images of a set."""

    whole: ImageSource
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, rows: Tensor) -> Images:
        return self.whole(self.rows[rows])


def part(group: Group, rows: Rows) -> Group:
    """The images of `rows` alone."""
    return Group(group.name, _Part(group.images, rows), [group.classes[row] for row in rows.tolist()])


def evenly(group: Group, most: int) -> Group:
    """At most `most` of its images, evenly over the set: one sorted by class is no bias."""
    return group if len(group) <= most else part(group, _lessons.evenly(len(group), most))


def own_loss(model: Generator, group: Group, scene: Scene, views: int) -> PerImageNumbers:
    """Its own loss, [N], the mean over `views` holes and views; less = known.

    Of a `Scoring` family its surprise instead, under one hole: that is a mean over views already.
    """
    if isinstance(model, Scoring):
        return _of_each(model.surprise, group, scene, 1)

    def loss(pair: Pair, draws: Draws) -> PerImage:
        return model.loss(pair, model.draw_view(pair.corrupted, draws))

    return _of_each(loss, group, scene, views)


def drawing_error(model: Generator, group: Group, scene: Scene, drawings: int) -> PerImageNumbers:
    """Squared error of what it draws over an image's missing pixels, all channels, the mean over drawings: [N]."""

    def error(pair: Pair, draws: Draws) -> PerImage:
        made = model.reconstruct(pair.corrupted, draws).float()
        missing = pair.corrupted.missing.expand_as(made)
        wrong = (made - pair.clean).square().masked_fill(~missing, 0.0)
        return wrong.flatten(1).sum(1) / missing.flatten(1).sum(1)

    return _of_each(error, group, scene, drawings)


@torch.no_grad()
def strayed(model: Denoising, stray: Callable[[Tensor], Tensor], group: Group, scene: Scene) -> Features:
    """`stray` [B, c, h, w] -> [B, K] of what the denoiser's noise is added to, whole pictures: [N, K]."""
    pairs = [pair for pair, _ in _asked(group, scene, 0)]
    return np.concatenate([stray(model.signal(pair)).double().cpu().numpy() for pair in pairs])


@torch.no_grad()
def embedded(model: Generator, group: Group, scene: Scene, views: int) -> list[Features]:
    """Mean and deviation over the places (tokens, pixels) of every map of E, the mean over views: [N, 2 C] a map.

    Shallow first. Of a `Layered` family every block has a map, not the last alone.
    """
    levels: list[list[Features]] = []  # view -> level -> [N, 2 C]
    for number in range(views):
        batches = []
        for pair, draws in _asked(group, scene, number):
            view = model.draw_view(pair.corrupted, draws)
            maps = model.depths(pair, view) if isinstance(model, Layered) else model.encode(pair, view)
            batches.append([_pooled(each).double().cpu().numpy() for each in maps])
        levels.append([np.concatenate(parts) for parts in zip(*batches, strict=True)])
    return [np.mean(parts, axis=0) for parts in zip(*levels, strict=True)]


@torch.no_grad()
def _of_each(ask: Callable[[Pair, Draws], PerImage], group: Group, scene: Scene, views: int) -> PerImageNumbers:
    found = np.zeros(len(group))
    for number in range(views):
        parts = [ask(pair, draws).double().cpu().numpy() for pair, draws in _asked(group, scene, number)]
        found += np.concatenate(parts) / views
    return found


def _asked(group: Group, scene: Scene, number: int) -> Iterator[tuple[Pair, Draws]]:
    """Batches of a set under one hole, and what else is drawn of that view: the same for every row."""
    once = replace(scene.draws, rows=1, first=0, total=None, picked=None).at("view", number)
    for start in range(0, len(group), scene.batch_size):
        rows = torch.arange(start, min(start + scene.batch_size, len(group)))
        alike = once.only((0,) * len(rows))
        clean = group.images(rows)
        # The hole is drawn on the CPU, so that every machine asks about the same pixels.
        hole = scene.corruption(clean, replace(alike, device=torch.device("cpu")).at("corruption"))
        here = replace(hole, images=hole.images.to(scene.device), missing=hole.missing.to(scene.device))
        yield Pair(clean.to(scene.device), here, rows), replace(alike, device=scene.device).at("asked")


def _pooled(tokens: Tensor) -> Tensor:
    """[B, L, C] or [B, C, h, w] -> [B, 2 C], mean and deviation over places; [B, C] as it is."""
    if tokens.ndim == 2:
        return tokens
    places = 1 if tokens.ndim == 3 else tuple(range(2, tokens.ndim))
    values = tokens.float()
    return torch.cat([values.mean(places), values.std(places, correction=0)], dim=1)
