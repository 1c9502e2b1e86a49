"""Kernel inception distance (Binkowski et al., ICLR 2018): unbiased MMD^2 under k(x, y) = (x.y / F + 1)^3.

It is the KID only where the features are Inception features; the report names the extractor beside it. Unbiased, so
it may be slightly negative, and small sets can be compared.
"""

from __future__ import annotations

from torch import Tensor

from unlearning.contracts import Compared
from unlearning.metrics._through import Through, unknown


class Kid(Through, kind="kid"):
    """0 in expectation when both clouds come from one distribution."""

    per_image = False

    def __call__(self, compared: Compared) -> Tensor:
        """[] float64; NaN where there are no features or fewer than two images."""
        seen = self.seen(compared)
        if seen is None or min(len(seen.truth), len(seen.generated)) < 2:
            return unknown()
        x, y = seen.truth.double(), seen.generated.double()
        return _mean_of_pairs(x) + _mean_of_pairs(y) - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_pairs(x: Tensor) -> Tensor:
    """Over ordered pairs of different images."""
    kernel = _kernel(x, x)
    n = len(x)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
