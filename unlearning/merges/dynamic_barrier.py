"""Feng et al., "Controllable Unlearning for Image-to-Image Generative Models via epsilon-Constrained Optimization".

    min L_r  subject to  L_f <= epsilon
    d = g_r + lambda g_f,   lambda = max(0, (psi - <g_f, g_r>) / |g_f|^2),   psi = beta min(L_f - epsilon, |g_f|^2)

ICLR 2025. No code is published; the form of d is put together from what is said of it. d is the direction nearest to
g_r with <d, g_f> >= psi, the dynamic barrier of Gong, Liu and Liu (NeurIPS 2021), and the control psi is theirs with
both of its rates equal to beta. Above epsilon the forget loss falls, at least in proportion to what is left; the second
part of the minimum keeps lambda finite where g_f fades. Below epsilon psi is negative: the forget loss may rise, ever
more slowly towards epsilon, if what is kept gains. At rest g_r = -lambda g_f, the Karush-Kuhn-Tucker condition of the
constrained problem. That holds for plain gradient steps; an optimizer that rescales coordinates follows the same
barrier in its own metric only. L_f is the batch's mean, so epsilon is in the forget term's own unit: sweep it for a
Pareto front.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Merge, Voice
from unlearning.merges._products import added, inner, ratio


class DynamicBarrier(Merge, kind="dynamic_barrier"):
    """Follow the retain gradient; add the least of the forget gradient that brings the forget loss to `epsilon`."""

    apart = True

    epsilon: float = Field(
        0.1,
        ge=-100,
        le=100,
        description="forget loss that is low enough, its own unit; search 0 to the loss at step 1; below 0: max_loss",
    )
    beta: float = Field(
        1.0, gt=0, description="how fast the forget loss goes to epsilon, a unit of step; search 0.1 to 10"
    )

    def gradient(self, forget: Voice, retain: Voice) -> list[Tensor]:
        """A tensor a parameter. A silent forget voice adds nothing."""
        loud = inner(forget.gradient, forget.gradient)
        psi = self.beta * torch.minimum(forget.loss.float() - self.epsilon, loud)
        weight = ratio(psi - inner(forget.gradient, retain.gradient), loud).clamp(min=0)
        return added(retain.gradient, weight, forget.gradient)
