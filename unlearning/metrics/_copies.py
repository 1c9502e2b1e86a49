"""How many drawn pictures are copies of an image to forget?

A drawn picture is a copy if the nearest forget image is nearer than a threshold, as a root mean square over pixels in
[0, 1], so that the threshold does not depend on the size. Alberti et al., "Data Unlearning in Diffusion Models", ICLR
2025, count L2 < 10 on 28 x 28 pixels: a root mean square below 10 / 28. How often that is: metrics/_rate.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unlearning.types import Images

_CHUNK = 1024  # drawn pictures at a time: [chunk, M] distances in memory


def nearest(drawn: Images, forget: Images) -> Tensor:
    """[N] float64: the root mean square distance of each drawn picture to its nearest of M forget images, in 0 .. 1.

    Infinite where there is no forget image.
    """
    if not len(forget):
        return torch.full((len(drawn),), math.inf, dtype=torch.float64)
    table = forget.flatten(1).double()
    halved = 2 * math.sqrt(table.shape[1])  # [-1, 1] is twice as wide as [0, 1]
    parts = [torch.cdist(part.flatten(1).double(), table).amin(1) / halved for part in torch.split(drawn, _CHUNK)]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)


def similarity(drawn: Tensor, forget: Tensor) -> float | None:
    """The mean over drawn pictures of the largest cosine with a forget image's features, [N, F] and [M, F].

    None where one of the two sets is empty.
    """
    if not len(drawn) or not len(forget):
        return None
    unit, targets = (torch.nn.functional.normalize(table.double(), dim=1) for table in (drawn, forget))
    return float(torch.cat([(part @ targets.T).amax(1) for part in torch.split(unit, _CHUNK)]).mean())
