"""Precision and recall of drawn pictures: Kynkaanniemi et al., "Improved Precision and Recall", NeurIPS 2019.

    precision = share of the drawn that lie in the ball of some real picture, to its k-th nearest real neighbour
    recall    = share of the real that lie in the ball of some drawn picture, to its k-th nearest drawn neighbour

Low precision: what is drawn looks like nothing real. Low recall: some of what is real is never drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NEIGHBOURS = 3  # as published
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of 0 .. 1; NaN where a set has no more pictures than neighbours."""

    precision: float
    recall: float


def coverage(real: Tensor, drawn: Tensor, neighbours: int = NEIGHBOURS) -> Coverage:
    """Of features [M, F] and [N, F]."""
    if min(len(real), len(drawn)) <= neighbours:
        return Coverage(math.nan, math.nan)
    return Coverage(inside(drawn, real, neighbours), inside(real, drawn, neighbours))


def inside(points: Tensor, centres: Tensor, neighbours: int) -> float:
    """The share of `points` [N, F] in the ball of at least one of `centres` [M, F], of which there are more than k."""
    centres = centres.double()
    # The nearest of all is the picture itself, at distance 0, so the k-th neighbour stands at k + 1.
    radii = torch.cat(
        [torch.cdist(part, centres).kthvalue(neighbours + 1, dim=1).values for part in torch.split(centres, _CHUNK)]
    )
    within = [(torch.cdist(part, centres) <= radii).any(1) for part in torch.split(points.double(), _CHUNK)]
    return float(torch.cat(within).double().mean())
