"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 2004, Eq. 13), averaged over missing pixels.

    SSIM = (2 m_x m_y + c1) (2 s_xy + c2) / ((m_x^2 + m_y^2 + c1) (s_x^2 + s_y^2 + c2))
    c1 = (0.01 R)^2,  c2 = (0.03 R)^2

with local means and (co)variances under a uniform window and R = 2, the range of the pixels.
"""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Compared, Metric
from unlearning.metrics._missing import mean_over_missing

_C1, _C2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2


class Ssim(Metric, kind="ssim"):
    """1 = identical. Windows reach over the hole's edge, where both pictures show the same visible pixels."""

    higher_is_closer = True

    window: int = Field(7, ge=3, description="side of the uniform window, pixels; odd")

    def __call__(self, compared: Compared) -> Tensor:
        """[B] float64."""
        x, y = compared.truth.double() + 1, compared.generated.double() + 1  # [0, 2]: means must not be negative
        mean_x, mean_y = self._mean(x), self._mean(y)
        variance_x = self._mean(x * x) - mean_x.square()
        variance_y = self._mean(y * y) - mean_y.square()
        covariance = self._mean(x * y) - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
        structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
        return mean_over_missing(luminance * structure, compared.missing)

    def _mean(self, images: Tensor) -> Tensor:
        half = self.window // 2
        padded = F.pad(images, (half, half, half, half), mode="replicate")
        return F.avg_pool2d(padded, self.window, stride=1)
