"""Clipped forget gradient, SISS (Alberti et al., "Data Unlearning in Diffusion Models", ICLR 2025):

    g = g_r + c g_f,   c = ratio |g_r| / |g_f|

The forget gradient is rescaled to a fixed share of the retain gradient, so it can neither drown it nor be drowned. The
released code has a constant norm in the place of that share, c = norm / |g_f|.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Merge, Voice


class ClippedForget(Merge, kind="clipped_forget"):
    """Rescale the forget gradient to `ratio` times the norm of the retain gradient, or to a norm of its own."""

    apart = True

    ratio: float = Field(0.1, gt=0, description="|c g_forget| / |g_retain|; the paper has about 0.1; search 0.01 to 1")
    norm: float | None = Field(
        None,
        gt=0,
        description="|c g_forget| itself, in the ratio's stead; published: 5 (MNIST), 500 (CelebA-HQ), for losses that "
        "are sums over pixels: ours are means, so divide by the number of pixels times channels",
    )

    def gradient(self, forget: Voice, retain: Voice) -> list[Tensor]:
        """A tensor a parameter. A silent forget voice adds nothing, a silent retain voice stops a step by ratio."""
        loud = _norm(forget.gradient)
        wanted = self.ratio * _norm(retain.gradient) if self.norm is None else self.norm
        scale = torch.where(loud > 0, wanted / loud, torch.zeros_like(loud))
        return [r + scale * f for f, r in zip(forget.gradient, retain.gradient, strict=True)]


def _norm(gradient: Sequence[Tensor]) -> Tensor:
    """Global L2 norm over all parameters, []."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in gradient]))
    return norm
