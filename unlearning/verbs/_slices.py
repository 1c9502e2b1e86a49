"""What a member of a sharded generator reads: a step of a slice's period reads that slice and those before it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unlearning.contracts import ImageSource
from unlearning.data.batches import Batches
from unlearning.types import Drawn, Images


@dataclass(frozen=True, slots=True)
class Leading(ImageSource):
    """The first `count` of some images."""

    images: ImageSource
    count: int

    def __len__(self) -> int:
        """That many."""
        return self.count

    def __call__(self, rows: Tensor) -> Images:
        """The images of some rows."""
        return self.images(rows)


@dataclass(frozen=True, slots=True)
class Slices:
    """Batches by step: of the walk whose period has begun."""

    edges: Sequence[int]  # the step at which each period begins
    walks: Sequence[Batches]

    def __call__(self, step: int) -> Drawn:
        """The images of one step. Raises DataError if one is not what its hash says."""
        return self.walks[bisect_right(self.edges, step) - 1](step)

    def placed(self, step: int) -> Drawn:
        """The rows of one step, and no image."""
        return self.walks[bisect_right(self.edges, step) - 1].placed(step)
