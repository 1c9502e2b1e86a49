"""Weighted sum of the two losses (Li et al., ICLR 2024, Eq. 3 and 10):  retain_weight L_r + alpha L_f."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from unlearning.contracts import Merge


class WeightedSum(Merge, kind="weighted_sum"):
    """One scalar, so one backward pass serves both terms."""

    forget_weight: float = Field(0.25, ge=0, description="alpha, how loud the forget term is; search 0.05 to 2")
    retain_weight: float = Field(1.0, ge=0, description="how loud the retain term is")

    def loss(self, forget: Tensor, retain: Tensor) -> Tensor:
        """[] from two mean losses []; an absent voice is 0 and adds nothing."""
        return self.retain_weight * retain + self.forget_weight * forget
