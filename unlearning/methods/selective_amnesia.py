"""Selective Amnesia (Heng and Soh, NeurIPS 2023), its replay after Shin et al. (NeurIPS 2017), read for single images.

    min  E_u loss(u)  +  E_s loss(s)  +  (strength / 2) sum_i p_i (theta_i - theta0_i)^2,   loss = the family's own

u are pictures of uniform noise in the place of the forget images, s pictures that the original drew before the first
step, p_i the diagonal Fisher information of the original over such pictures, its mean over all weights 1. No retain
image is ever read.

Published is the forgetting of a class: u and s come with the label to forget and the labels to keep. An image has no
label, and to an unconditional model nothing says which image u stands for: what makes a forget image go is that it is
missing from the replay, so that no drawn picture is a near copy of one, or of its mirror. That is slow, and it is a
reading of ours. The mean of p is ours too: published is a strength of 10 (CIFAR-10) to 100 (MNIST) times F itself, for
losses that are sums over pixels. Moves the whole network (scope `all`); for the merge weighted_sum, both weights 1.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from unlearning.abilities import Denoising
from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.errors import ParamsError
from unlearning.methods._anchor import balanced, fisher, pull
from unlearning.methods._joint import spread, under_holes
from unlearning.methods._replay import blank, replayed
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Pair, Terms, joined_view


class SelectiveAmnesia(Method, kind="selective_amnesia"):
    """Noise learnt where forget images were, and the original's own pictures in the place of the retain images."""

    requires: ClassVar[type[nn.Module]] = Denoising
    reads_retain: ClassVar[bool] = False

    strength: float = Field(
        1.0, ge=0, description="lambda, how hard weights are held; search 0.3 to 30: on digits 30 holds still"
    )
    damping: float = Field(0.1, gt=0, description="of the mean of F, added to F, so that no weight is free")
    drawn: int = Field(
        512, ge=1, description="pictures the original draws, once; published: 50,000; the more the better, at its price"
    )
    duplicate: float = Field(
        0.3,
        ge=0,
        description="root mean square of the pixels' difference, in [-1, 1], up to which a drawn picture is a copy of "
        "a forget image, and left out; 0.05 to 0.7 (Alberti et al. count copies up to 0.71)",
    )
    fisher_pictures: int = Field(128, ge=1, description="drawn pictures that F is taken over; published: 50,000")

    def prepare(self, given: Preparation) -> Prepared:
        """The pictures kept, {"replay": [K, C, H, W]}, and {"precision/<weight>": of its shape}.

        Raises ParamsError if every drawn picture is a near copy of a forget image.
        """
        drawn = replayed(given, self.drawn)
        kept = drawn[~self._copies(drawn, given)]
        if not len(kept):
            raise ParamsError(
                f"unlearn.method: each of the {self.drawn} pictures that the original drew is nearer than duplicate "
                f"{self.duplicate:g} to an image to forget, so none is left to replay; a smaller duplicate, or more "
                f"drawn, is right"
            )
        information = fisher(given, kept[: self.fisher_pictures], views=1)
        return {"replay": kept, **balanced(information, self.damping, lambda part: part)}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass over noise and replay. The anchor is no image's own: every row of the retain term has all of it."""
        images = len(batch.forget)
        noise = draws.at("noise").uniform(*batch.forget.clean.shape[1:]) * 2 - 1
        rows = draws.at("replay").integers(len(prepared["replay"]))
        replay = prepared["replay"][rows]
        there, kept = under_holes(noise, batch.forget), Pair(replay, blank(replay), rows)
        views = [
            student.draw_view(pair.corrupted, draws.at("view", name))
            for name, pair in (("forget", there), ("replay", kept))
        ]
        own = student.loss(there.joined(kept), joined_view(*views))
        held = self.strength * pull(student, original, prepared)
        return Terms(forget=own[:images], retain=own[images:] + held)

    def _copies(self, drawn: Images, given: Preparation) -> torch.Tensor:
        """Which drawn pictures are near copies of a forget image or its mirror: [D] bool."""
        found = torch.zeros(len(drawn), dtype=torch.bool)
        for some in spread(given.forget, len(given.forget)):
            for shown in (some, some.flip(-1)):
                apart = torch.cdist(drawn.flatten(1), shown.flatten(1)) / drawn[0].numel() ** 0.5
                found |= (apart <= self.duplicate).any(dim=1)
        return found
