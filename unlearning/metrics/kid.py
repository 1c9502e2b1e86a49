"""Kernel inception distance (Binkowski et al., ICLR 2018): unbiased MMD^2 under k(x, y) = (x.y / F + 1)^3.

It is the KID only where the features are Inception features; the report names the extractor beside it. Unbiased, so
it may be slightly negative, and small sets can be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unlearning.contracts import Compared, Metric


class Kid(Metric, kind="kid"):
    """0 in expectation when both clouds come from one distribution."""

    per_image = False
    reads_features = True

    def __call__(self, compared: Compared) -> Tensor:
        """[] float64; NaN where there are no features or fewer than two images."""
        x, y = compared.truth_features, compared.generated_features
        if x is None or y is None or min(len(x), len(y)) < 2:
            return torch.tensor(float("nan"), dtype=torch.float64)
        x, y = x.double(), y.double()
        return _mean_of_pairs(x) + _mean_of_pairs(y) - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_pairs(x: Tensor) -> Tensor:
    """Over ordered pairs of different images."""
    kernel = _kernel(x, x)
    n = len(x)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
