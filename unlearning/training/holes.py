"""Where T takes something away: drawn anew at every step as published, or once for each image and its mirror."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from unlearning.contracts import Corruption
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Pair, Sample, SetName


@dataclass(frozen=True, slots=True)
class Holes:
    """T and its randomness. With `by_row` an image loses the same pixels whenever it comes."""

    corruption: Corruption
    by_row: bool = False

    @property
    def constant(self) -> bool:
        """Whether T(x) of an image is the same at every step."""
        return self.by_row or self.corruption.fixed

    def pair(self, name: SetName, sample: Sample, draws: Draws) -> Pair:
        """x and T(x) on the draws' device; what is known of the images comes along."""
        clean, known = sample.images.to(draws.device, non_blocking=True), sample.known.to(draws.device)
        if not len(clean):  # an absent set: no rows, and no hole to draw
            return Pair(clean, Corrupted(clean, clean[:, :1].bool()), sample.rows)
        if self.by_row and not self.corruption.fixed:
            return Pair(clean, self._by_row(name, clean, sample, draws), sample.rows, known)
        return Pair(clean, self.corruption(clean, draws.at("corruption", name)), sample.rows, known)

    def _by_row(self, name: SetName, clean: torch.Tensor, sample: Sample, draws: Draws) -> Corrupted:
        mirrored = [False] * len(clean) if sample.mirrored is None else sample.mirrored.tolist()
        made = [
            self.corruption(image[None], Draws(draws.seed, 1, where=("hole", name, row, turned), device=draws.device))
            for image, row, turned in zip(clean, sample.rows.tolist(), mirrored, strict=True)
        ]
        return replace(
            made[0],
            images=torch.cat([one.images for one in made]),
            missing=torch.cat([one.missing for one in made]),
        )
