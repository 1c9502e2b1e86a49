"""EXPERIMENTAL. An adaptive ratio for SISS, ours, from the perturbed descent lemma of Alberti et al. (ICLR 2025):

    g = g_r + c g_f,   c = ratio |g_r| / |g_f|,   ratio = min(most, share / max(-cos(g_r, g_f), 0))

`clipped_forget` with a ratio that is as large as what is kept allows: to first order the retain loss falls by <g, g_r>,
and c is the largest, up to `most`, for which that is at least (1 - share) |g_r|^2. Voices that pull against each other
get ratio = share, as published; voices that have nothing to do with each other get `most`.

Adaptive SISS (Dini and Jafari, 2025) learns l instead, the mixture, with a network. Without a superfactor SISS does not
depend on l in expectation (Lemma 1 of Alberti et al.): l moves variance, and what moves the balance is this ratio. It
is a function of the two gradients of the step, and remembers nothing.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Merge, Voice
from unlearning.merges._products import added, inner, ratio


class AdaptiveRatio(Merge, kind="adaptive_ratio"):
    """The loudest forget gradient that leaves the retain loss most of its fall. Experimental."""

    apart = True

    share: float = Field(0.1, gt=0, lt=1, description="of the retain loss's fall that forgetting may cost; 0.01 to 0.5")
    most: float = Field(1.0, gt=0, description="largest |c g_forget| / |g_retain|; from share upwards; search 0.1 to 2")

    def gradient(self, forget: Voice, retain: Voice) -> list[Tensor]:
        """A tensor a parameter. A silent forget voice adds nothing, a silent retain voice stops the step."""
        kept = inner(retain.gradient, retain.gradient)
        against = -inner(retain.gradient, forget.gradient)
        loudest = self.most * ratio(kept.sqrt(), inner(forget.gradient, forget.gradient).sqrt())
        allowed = torch.where(against > 0, self.share * ratio(kept, against.clamp(min=0)), loudest)
        return added(retain.gradient, torch.minimum(loudest, allowed), forget.gradient)
