"""Generative replay (Shin et al., NeurIPS 2017): pictures the original draws stand for data that are gone."""

from __future__ import annotations

from dataclasses import replace

import torch

from unlearning.abilities import Denoising
from unlearning.contracts import Preparation
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images

_CHUNK_IMAGES = 64  # drawn at once: a function of nothing, so that the pictures are not either


def blank(like: Images) -> Corrupted:
    """Nothing is shown: every pixel of [B, C, H, W] is to be invented."""
    return Corrupted(torch.zeros_like(like), torch.ones_like(like[:, :1], dtype=torch.bool), torch.zeros_like)


@torch.no_grad()
def replayed(given: Preparation, count: int) -> Images:
    """`count` pictures of the original's own, [count, C, H, W] on the CPU.

    A family that can be told nothing draws them from nothing. Any other is shown what is visible of forget images,
    because nothing else is left to show.
    """
    parts = list[Images]()
    for number, rows in enumerate((torch.arange(count) % len(given.forget)).split(_CHUNK_IMAGES)):  # type: ignore[no-untyped-call]
        draws = replace(given.draws, rows=len(rows), first=0, total=None).at("replay", number)
        shown = _shown(given, given.forget(rows).to(given.device), draws)
        parts.append(given.original.reconstruct(shown, draws.at("picture")).cpu())
    return torch.cat(parts)


def _shown(given: Preparation, clean: Images, draws: Draws) -> Corrupted:
    if isinstance(given.original, Denoising):
        return blank(clean)
    return given.corruption(clean, draws.at("corruption"))
