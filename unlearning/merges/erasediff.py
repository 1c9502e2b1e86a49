"""EraseDiff (Wu et al., "EraseDiff: Erasing Data Influence in Diffusion Models", 2024), as Alberti et al. 2025 have it:

    g = g_r + max(eta - <g_r, g_f> / |g_f|^2, 0) g_f

The retain gradient, and as much of the forget gradient as makes the forget loss fall at least eta |g_f|^2 a unit of
step: <g, g_f> >= eta |g_f|^2. It is the dynamic barrier of Gong et al. without a level at which forgetting is enough.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from unlearning.contracts import Merge, Voice
from unlearning.merges._products import added, inner, ratio


class EraseDiff(Merge, kind="erasediff"):
    """Add the least of the forget gradient that keeps forgetting going."""

    apart = True

    eta: float = Field(0.1, ge=0, description="the least share of its own gradient forgetting gets; search 0.01 to 1")

    def gradient(self, forget: Voice, retain: Voice) -> list[Tensor]:
        """A tensor a parameter. A silent forget voice adds nothing."""
        shared = ratio(inner(retain.gradient, forget.gradient), inner(forget.gradient, forget.gradient))
        return added(retain.gradient, (self.eta - shared).clamp(min=0), forget.gradient)
