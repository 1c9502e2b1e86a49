"""Tokens of p x p pixels: where they stand, which of them the hole hides, and how many a transformer may see.

B images, L tokens in reading order, V of them visible.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from unlearning.errors import ParamsError
from unlearning.types import Images, Missing


def hidden_tokens(missing: Missing, patch: int, margin: int = 0) -> Tensor:
    """[B, 1, H, W] bool -> [B, L] bool: tokens with a missing pixel, even one, and `margin` rings of tokens around."""
    if not len(missing):
        return missing.new_zeros(0, (missing.shape[2] // patch) * (missing.shape[3] // patch))
    hidden = functional.max_pool2d(missing.float(), patch)  # [B, 1, H / p, W / p]
    if margin:
        hidden = functional.max_pool2d(hidden, 2 * margin + 1, stride=1, padding=margin)
    return hidden.flatten(1).bool()


def visible_count(hidden: Tensor, kind: str, patch: int) -> int:
    """V, the same for every image of the batch. Raises ParamsError if it is not, or if nothing is visible."""
    if not len(hidden):
        return hidden.shape[1]
    counts = hidden.shape[1] - hidden.sum(dim=1)
    fewest, most = (int(count) for count in counts.aminmax())
    if fewest != most:
        raise ParamsError(
            f"generator {kind!r}: images of one batch show {fewest} to {most} whole patches of "
            f"{patch} x {patch} pixels; a corruption on that grid hides the same number on each"
        )
    if most == 0:
        raise ParamsError(
            f"generator {kind!r}: the hole touches every patch of {patch} x {patch} pixels, so the encoder "
            f"would see nothing; a smaller patch or a corruption on that grid leaves some whole"
        )
    return most


def refuse_other_size(images: Images, tokens: int, patch: int, kind: str) -> None:
    """Raise ParamsError for images that are not the `tokens` patches a network was built for."""
    height, width = images.shape[-2:]
    if height % patch or width % patch or (height // patch) * (width // patch) != tokens:
        side = math.isqrt(tokens) * patch
        raise ParamsError(f"generator {kind!r}: built for images of {side} x {side} pixels, given {height} x {width}")


def rows_of(tokens: Tensor, order: Tensor) -> Tensor:
    """Tokens of each image by its own order: [B, L, D], [B, K] -> [B, K, D]."""
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1]))


def sincos_positions(grid: int, width: int) -> Tensor:
    """[1, 1 + grid^2, width]: the published table; the column fills the first half, zero for the class token."""
    rates = 1.0 / 10_000 ** (torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * rates  # [grid, width / 4]
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # [grid, width / 2]
    columns, rows = line.repeat(grid, 1), line.repeat_interleave(grid, dim=0)
    return torch.cat([torch.zeros(1, width), torch.cat([columns, rows], dim=1)]).float()[None]
