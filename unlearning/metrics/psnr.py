"""Peak signal-to-noise ratio on missing pixels, decibel: 10 log10(range^2 / MSE), range = 2 for pixels in [-1, 1]."""

from __future__ import annotations

from torch import Tensor

from unlearning.contracts import Compared, Metric
from unlearning.metrics._missing import mean_over_missing


class Psnr(Metric, kind="psnr"):
    """Decibel; an exact copy is reported as 100 dB, so that every value is finite."""

    higher_is_closer = True

    def __call__(self, compared: Compared) -> Tensor:
        """[B] float64."""
        mse = mean_over_missing((compared.truth - compared.generated).square(), compared.missing)
        return 10 * (4.0 / mse.clamp_min(4e-10)).log10()
