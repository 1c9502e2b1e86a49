"""Inner products of gradients, each a list of tensors, one a parameter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def inner(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """<a, b> over all parameters, [] float32."""
    return torch.stack([(a.float() * b.float()).sum() for a, b in zip(first, second, strict=True)]).sum()


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 where `whole` is 0: a silent voice has no direction."""
    return torch.where(whole > 0, part / whole.clamp(min=torch.finfo(whole.dtype).tiny), torch.zeros_like(part))


def added(retain: Sequence[Tensor], scale: Tensor, forget: Sequence[Tensor]) -> list[Tensor]:
    """g_r + scale g_f, a tensor a parameter."""
    return [r + scale * f for r, f in zip(retain, forget, strict=True)]
