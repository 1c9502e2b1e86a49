"""Shares of one set's pictures that lie in the other's neighbourhood: what precision and recall have in common."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field
from torch import Tensor, tensor

from unlearning.contracts import Compared
from unlearning.metrics._neighbourhoods import NEIGHBOURS, inside
from unlearning.metrics._through import Through, unknown


class Covering(Through):
    """A share of 0 .. 1."""

    per_image = False
    higher_is_closer = True

    of_generated: ClassVar[bool]  # whose pictures are counted: the generated ones, or the true ones

    neighbours: int = Field(NEIGHBOURS, ge=1, le=50, description="k of the k-th nearest neighbour; 3 as published")

    def __call__(self, compared: Compared) -> Tensor:
        """[] float64; NaN where there are no more images than neighbours."""
        seen = self.seen(compared)
        if seen is None:
            return unknown()
        if min(len(seen.truth), len(seen.generated)) <= self.neighbours:
            return tensor(math.nan).double()
        counted = (seen.generated, seen.truth) if self.of_generated else (seen.truth, seen.generated)
        return tensor(inside(*counted, self.neighbours)).double()
