"""SISS, subtracted importance-sampled scores: Alberti et al., "Data Unlearning in Diffusion Models", ICLR 2025.

    min  E_{x, a, m ~ q}  w_x |(m - gamma x) / sigma - e(m)|^2  -  c w_a |(m - gamma a) / sigma - e(m)|^2
    q(m) = (1 - l) q(m|x) + l q(m|a),   w_x = q(m|x) / q(m),   w_a = q(m|a) / q(m),   q(m|x) = N(gamma x, sigma^2)

x is kept, a is to be forgotten: naive deletion less c times the same loss on what is to go, in one pass. m is a noised
x or a noised a, l says how often which, and counts for both. In expectation it does not matter how m was chosen, so
`passes: 2`, a noised image of each in a pass over both, is the same without importance sampling (SISS No-IS). With

    D = (|m - gamma x|^2 - |m - gamma a|^2) / (2 sigma^2),   L = log(l / (1 - l))
    w_x = sigmoid(-(D + L)) / (1 - l),   w_a = sigmoid(D + L) / l

nothing overflows, 0 <= w_x <= 1 / (1 - l), 0 <= w_a <= 1 / l, and (1 - l) w_x + l w_a = 1. Where the noise does not
reach from one picture to the other, which is nearly everywhere on a linear schedule, one of the weights is 0: one pass
then is a coin that decides which of the two is heard, doubled. The weights are known before the network is asked, so
it is asked for each term only where that term is heard: going back for two terms through one pass costs as much as
another pass over two thirds of it, and all that is spared unless both are heard at most points.
c, the superfactor, is the merge's: `clipped_forget` as published, `weighted_sum` for a constant one. Moves the whole
network (scope `all`). The retain set must not hold what is forgotten, nor its near duplicates.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Generator, Prepared
from unlearning.methods._denoising import (
    DenoisingMethod,
    coarse_error,
    error,
    holes,
    levels,
    predicted,
    signal,
    taught,
)
from unlearning.methods._joint import kept_alone
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, PerImage, Terms

_SILENT = float(torch.finfo(torch.float32).eps)  # a weight below this is lost in the rounding of the others
_SHARED = 1.6  # points per pair, both terms counted, above which one shared pass is cheaper: (1 + 2 * 2) / (1 + 2)


class Siss(DenoisingMethod, kind="siss"):
    """Descent on what is kept and ascent on what is forgotten, both at one noised picture between them."""

    forget_reads_retain: ClassVar[bool] = True
    retain_reads_forget: ClassVar[bool] = True

    mixture: float = Field(
        0.5, gt=0, lt=1, description="l, how often m is a noised forget image; to 0: naive deletion, to 1: NegGrad"
    )
    passes: Literal[1, 2] = Field(1, description="2 = SISS No-IS: each set noised in its own pass, twice the work")

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass over a picture for each pair of images, or one over both sets where `passes` is 2."""
        if not len(batch.forget):
            return kept_alone(student, batch, draws)
        if self.passes == 2:
            return self._apart(student, batch, draws)
        forget, retain = batch.forget, batch.retain
        timestep, noise = self.view_within(student, forget, draws.at("view", "forget"))
        gamma, sigma = levels(student, timestep)
        chosen = (draws.at("mixture").uniform() < self.mixture).view(-1, 1, 1, 1)
        gone, kept = signal(student, forget), signal(student, retain)
        point = gamma * torch.where(chosen, gone, kept) + sigma * noise
        for_retain, for_forget = weights(point, gamma * kept, gamma * gone, sigma, self.mixture)
        heard = for_forget > _SILENT, for_retain > _SILENT
        if int(heard[0].sum() + heard[1].sum()) > _SHARED * len(point):
            heard = (torch.ones_like(heard[0]),) * 2
            found = (predicted(student, point, timestep),) * 2
        else:
            found = _asked(student, point, timestep, heard[0]), _asked(student, point, timestep, heard[1])
        away, back = ((point - gamma * clean) / sigma for clean in (gone, kept))
        ascent = coarse_error(found[0], away[heard[0]], holes(student, forget)[heard[0]], self.low_pass)
        descent = error(found[1], back[heard[1]], holes(student, retain)[heard[1]])
        return Terms(forget=-_spread(ascent, heard[0]) * for_forget, retain=_spread(descent, heard[1]) * for_retain)

    def _apart(self, student: Generator, batch: Batch, draws: Draws) -> Terms:
        here = self.view_within(student, batch.forget, draws.at("view", "forget"))
        own = taught(student, batch, here, here[1], draws, self.low_pass)
        return Terms(forget=-own.forget, retain=own.retain)


def _asked(student: Generator, point: Images, timestep: Tensor, some: Tensor) -> Tensor:
    """eps_theta of some of the points, [K, C, H, W]; a network is not asked about none."""
    return predicted(student, point[some], timestep[some]) if bool(some.any()) else point[:0].float()


def _spread(values: PerImage, some: Tensor) -> PerImage:
    """[K] at the K places of `some` [B], 0 elsewhere: [B]."""
    return values.new_zeros(len(some)).index_put((some,), values)


def weights(point: Images, retain: Images, forget: Images, sigma: Tensor, mixture: float) -> tuple[PerImage, PerImage]:
    """w_x and w_a, [B] each, of m and the two means gamma x and gamma a, [B, C, H, W], under sigma [B, 1, 1, 1]."""
    # |m - x|^2 - |m - a|^2 as a product: the difference of two large squares would lose what tells them apart.
    apart = ((forget - retain) * (2 * point - retain - forget)).flatten(1).sum(dim=1)
    exponent = apart / (2 * sigma.flatten().square()) + math.log(mixture / (1 - mixture))
    return torch.sigmoid(-exponent) / (1 - mixture), torch.sigmoid(exponent) / mixture
