"""Which images a step reads: a function of (seed, set, step), so that any batch can be had without its history."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from unlearning import randomness
from unlearning.contracts import ImageSource
from unlearning.randomness import Draws
from unlearning.types import Drawn, Sample, SetName


class Batches:
    """Step by step, this rank's rows `first .. first + rows` of a batch of `batch_size` images a set.

    Each set is walked in a fresh seeded order an epoch; a set smaller than the batch wraps around.

    forget     None: every `Drawn.forget` is empty, [0, C, H, W]
    retain     None: the same of `Drawn.retain`; one of the two must be there
    flip       mirror half of the images; which ones is a function of place too
    """

    def __init__(
        self,
        forget: ImageSource | None,
        retain: ImageSource | None,
        batch_size: int,
        seed: int,
        first: int = 0,
        rows: int | None = None,
        flip: bool = False,
    ) -> None:
        self._forget, self._retain = forget, retain
        self._batch_size, self._seed, self._flip = batch_size, seed, flip
        self._first = first
        self._rows = batch_size - first if rows is None else rows
        self._order = lru_cache(maxsize=8)(self._draw_order)

    def __call__(self, step: int) -> Drawn:
        """The images of one step. Raises DataError if one is not what its hash says."""
        forget = None if self._forget is None else self._sample(self._forget, "forget", step)
        retain = None if self._retain is None else self._sample(self._retain, "retain", step)
        there = retain or forget
        assert there is not None, "a step reads one set at least"
        absent = Sample(there.images[:0], torch.empty(0, dtype=torch.int64))
        return Drawn(forget or absent, retain or absent)

    def _sample(self, images: ImageSource, name: str, step: int) -> Sample:
        rows, mirrored = self._at(name, len(images), step)
        mine = slice(self._first, self._first + self._rows)
        return _sample(images, rows[mine], mirrored[mine] if self._flip else None)

    def placed(self, step: int) -> Drawn:
        """The rows of one step, and not one image read: [B, 0] in their place."""
        return Drawn(self._placed(self._forget, "forget", step), self._placed(self._retain, "retain", step))

    def _placed(self, images: ImageSource | None, name: str, step: int) -> Sample:
        if images is None:
            return Sample(torch.empty(0, 0), torch.empty(0, dtype=torch.int64))
        rows, mirrored = self._at(name, len(images), step)
        mine = slice(self._first, self._first + self._rows)
        return Sample(torch.empty(self._rows, 0), rows[mine], mirrored[mine] if self._flip else None)

    def visits(self, name: SetName, steps: int) -> tuple[Tensor, int]:
        """What all ranks see of a set in `steps` steps: each (row, mirrored) once, [K, 2] int64 in order; how often."""
        source = self._forget if name == "forget" else self._retain
        if source is None:
            return torch.empty(0, 2, dtype=torch.int64), 0
        seen = [torch.stack(self._at(name, len(source), step), dim=1) for step in range(steps)]
        return torch.unique(torch.cat(seen), dim=0), steps * self._batch_size

    def some(self, name: SetName, rows: Tensor, mirrored: Tensor) -> Sample:
        """Any images of a set: `rows` [K] int64, those of `mirrored` [K] bool turned left to right."""
        source = self._forget if name == "forget" else self._retain
        assert source is not None, "an absent set has no rows to ask for"
        return _sample(source, rows, mirrored)

    def _at(self, name: str, length: int, step: int) -> tuple[Tensor, Tensor]:
        """The rows of all ranks, [B] int64, and which are mirrored, [B] bool."""
        rows = self._rows_at(name, length, step)
        if not self._flip:
            return rows, torch.zeros(len(rows), dtype=torch.bool)
        return rows, Draws(self._seed, self._batch_size, where=("flip", name, step)).uniform() < 0.5

    def _rows_at(self, name: str, length: int, step: int) -> Tensor:
        """[B] int64: places in an endless walk through epoch after epoch."""
        places = step * self._batch_size + torch.arange(self._batch_size)
        epochs = places // length
        rows = torch.empty_like(places)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            here = epochs == epoch
            rows[here] = self._order(name, length, epoch)[places[here] % length]
        return rows

    def _draw_order(self, name: str, length: int, epoch: int) -> Tensor:
        return torch.randperm(length, generator=randomness.generator(self._seed, "order", name, epoch))


def _sample(images: ImageSource, rows: Tensor, mirrored: Tensor | None) -> Sample:
    pixels = images(rows)
    if mirrored is not None:
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
    return Sample(pixels, rows, mirrored)
