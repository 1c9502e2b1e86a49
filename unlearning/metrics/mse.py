"""Mean squared error on missing pixels, in units of the [-1, 1] range squared (0 = identical, 4 = black for white)."""

from __future__ import annotations

from torch import Tensor

from unlearning.contracts import Compared, Metric
from unlearning.metrics._missing import mean_over_missing


class Mse(Metric, kind="mse"):
    """|truth - generated|^2, averaged over channels and missing pixels."""

    def __call__(self, compared: Compared) -> Tensor:
        """[B] float64."""
        return mean_over_missing((compared.truth - compared.generated).square(), compared.missing)
