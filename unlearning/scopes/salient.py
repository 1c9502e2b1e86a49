"""Salient weights, SalUn (Fan et al., "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency", 2024):

    mask = 1 where |grad of E_f loss(x_f)| at the original is among the largest share of all weights, else 0

Only the weights that the forget images' own loss pulls at most are moved, by any method's gradient; the mask is
computed once and applied to every one. Weight decay would move the others too, so it must be 0.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unlearning.contracts import Generator, Preparation, Prepared, Scope
from unlearning.types import Pair

_CHUNK_IMAGES = 64  # at once: memory, not the result, depends on it


class Salient(Scope, kind="salient"):
    """The weights that matter most for the forget images."""

    share: float = Field(0.5, gt=0, le=1, description="of the weights that move; published: 0.5; search 0.1 to 0.9")
    within: Literal["all", "encoder"] = Field("all", description="the weights that the share is of")
    draws: int = Field(8, ge=1, description="views of each forget image that the gradient is averaged over")
    measured_images: int = Field(1_024, ge=1, description="forget images that the gradient is taken from")

    def prepare(self, given: Preparation) -> Prepared:
        """{parameter: bool, of its shape}. Exactly the share is True, over all of them together."""
        copied = copy.deepcopy(given.original).eval().requires_grad_(True)
        weights = self.parameters(copied)
        pulls = [part.abs().float().flatten() for part in self._gradient(copied, weights, given)]
        flat = torch.cat(pulls)
        chosen = torch.zeros_like(flat, dtype=torch.bool)
        chosen[flat.topk(max(1, round(self.share * len(flat)))).indices] = True
        parts = torch.split(chosen, [len(pull) for pull in pulls])
        return {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}

    def parameters(self, student: Generator) -> dict[str, nn.Parameter]:
        """The weights that the share is of; the mask keeps the others of them still."""
        if self.within == "encoder":
            return student.encoder_parameters()
        return {name: weight for name, weight in student.named_parameters() if weight.requires_grad}

    def mask(self, name: str, gradient: Tensor, prepared: Prepared) -> Tensor:
        """0 where the weight is not salient."""
        return gradient.masked_fill(~prepared[name], 0.0)

    def _gradient(self, model: Generator, weights: dict[str, nn.Parameter], given: Preparation) -> list[Tensor]:
        """Of the mean of the forget images' own loss, a tensor a parameter."""
        count = min(len(given.forget), self.measured_images)
        rows = torch.arange(count) * len(given.forget) // count
        found = [torch.zeros_like(weight) for weight in weights.values()]
        for start in range(0, count, _CHUNK_IMAGES):
            some = rows[start : start + _CHUNK_IMAGES]
            clean = given.forget(some).to(given.device)
            for number in range(self.draws):
                draws = replace(given.draws, rows=len(some), first=start, total=count).at("salient", number)
                pair = Pair(clean, given.corruption(clean, draws.at("corruption")), some)
                loss = model.loss(pair, model.draw_view(pair.corrupted, draws.at("view"))).sum() / count
                here = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
                found = [whole if part is None else whole + part for whole, part in zip(found, here, strict=True)]
        return found
