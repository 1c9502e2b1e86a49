"""Inception score: Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016.

    IS = exp(E_x KL(p(y | x) || p(y)))

1 = every picture looks like the same mixture of classes, K = every picture is surely of one of K classes, all as often.
It is the published score only where the classifier is Inception; the report names the classifier beside it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SPLITS = 10  # as published: the score of each tenth, their mean and deviation


def inception_score(probabilities: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """Mean and standard deviation over splits of [N, K] class probabilities; NaN of fewer pictures than splits."""
    if len(probabilities) < splits:
        return math.nan, math.nan
    table = probabilities.double()
    table = table / table.sum(1, keepdim=True)
    scores = torch.stack([_score(part) for part in table.tensor_split(splits)])
    return float(scores.mean()), float(scores.std(correction=0))


def _score(probabilities: Tensor) -> Tensor:
    """[]; 0 log 0 = 0."""
    marginal = probabilities.mean(0, keepdim=True)
    divergence = torch.xlogy(probabilities, probabilities) - torch.xlogy(probabilities, marginal)
    return divergence.sum(1).mean().exp()
