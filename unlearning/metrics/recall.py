"""Recall: the share of true pictures that look like a generated one (Kynkaanniemi et al., NeurIPS 2019, Eq. 2).

On features of missing pixels alone: metrics/_neighbourhoods.py. Low: some of what is real is never drawn.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, tensor

from unlearning.contracts import Compared
from unlearning.metrics._neighbourhoods import NEIGHBOURS, coverage
from unlearning.metrics._through import Through, unknown


class Recall(Through, kind="recall"):
    """A share of 0 .. 1."""

    per_image = False
    higher_is_closer = True

    neighbours: int = Field(NEIGHBOURS, ge=1, le=50, description="k of the k-th nearest neighbour; 3 as published")

    def __call__(self, compared: Compared) -> Tensor:
        """[] float64; NaN where there are no more images than neighbours."""
        seen = self.seen(compared)
        if seen is None:
            return unknown()
        return tensor(coverage(seen.truth, seen.generated, self.neighbours).recall).double()
