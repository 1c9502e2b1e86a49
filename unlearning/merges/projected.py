"""Projected forget gradient, after Yu et al., "Gradient Surgery for Multi-Task Learning" (PCGrad), NeurIPS 2020:

    g = g_r + alpha (g_f - c g_r),   c = min(<g_f, g_r>, 0) / |g_r|^2

What the forget gradient has against the retain gradient is taken away, what it has along it is left. Yu et al. project
each task against every other; here only the forget gradient is bent, because what is kept has the last word. To first
order a step then never raises the retain loss: <g, g_r> >= |g_r|^2.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from unlearning.contracts import Merge, Voice
from unlearning.merges._products import added, inner, ratio


class Projected(Merge, kind="projected"):
    """Add the part of the forget gradient that is not against the retain gradient."""

    apart = True

    forget_weight: float = Field(
        1.0, ge=0, description="alpha, how loud the projected forget gradient is; search 0.1 to 4"
    )

    def gradient(self, forget: Voice, retain: Voice) -> list[Tensor]:
        """A tensor a parameter. A silent forget voice adds nothing; a silent retain voice bends nothing."""
        against = inner(forget.gradient, retain.gradient).clamp(max=0)
        share = ratio(against, inner(retain.gradient, retain.gradient))
        bent = added(forget.gradient, -share, retain.gradient)
        return added(retain.gradient, share.new_tensor(self.forget_weight), bent)
