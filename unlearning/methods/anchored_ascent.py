"""Anchored ascent: Panda et al., "Unlearning in Diffusion Models under Data Constraints" (VDU, TMLR 2026), and kin.

    min  -(1 - gamma) E_f loss(x_f)  +  gamma sum_i p_i (theta_i - theta0_i)^2 / 2,   loss = the family's own

No retain image is ever read: the forget images' loss climbs, and what is known of the rest is kept by holding every
weight near the original's, the more the larger its precision p_i. Three precisions, each with a mean of 1 over all
weights, so that gamma means the same for all:

    l2      p_i = 1: the plain anchor
    fisher  p_i ~ F_i, the mean squared gradient of the own loss at the original, picture by picture, as elastic weight
            consolidation and Selective Amnesia (Heng and Soh, NeurIPS 2023) have it; over pictures that the original
            itself draws, because the data are gone
    spread  p_i ~ 1 / v_i, v_i the variance of the weight over snapshots of the original's training, as in VDU, whose
            anchor is the snapshots' mean: ours is the original, which is what will be compared

A weight that nothing pulls would be free, one that never moved would be nailed: `damping` times the mean is added to F
and to v. The ascent has no lower bound, and the anchor bends it only as far as it goes: a small gamma diverges as plain
ascent does, so stop early: `unlearn.stop` looks at images of the proxy set, and teaches nothing by them. For the merge
weighted_sum with both weights 1; a merge that measures the retain gradient finds none at the start.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.errors import ParamsError
from unlearning.methods._anchor import balanced, fisher, pull
from unlearning.methods._replay import replayed
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms


class AnchoredAscent(Method, kind="anchored_ascent"):
    """The forget images' own loss with its sign turned, and weights held near the original's; no retain data."""

    reads_retain: ClassVar[bool] = False

    gamma: float = Field(
        0.9,
        gt=0,
        lt=1,
        description="share of the anchor; search 0.7 to 0.97: on digits less runs away, more holds still",
    )
    anchor: Literal["l2", "fisher", "spread"] = Field(
        "l2", description="what p is; spread needs an original trained here with original.snapshots"
    )
    damping: float = Field(
        0.1, gt=0, description="of the mean, added to F or v; to 0: as published, large: the plain anchor"
    )
    drawn: int = Field(256, ge=1, description="pictures the original draws for F; published: 50,000, for seconds: 64")
    views: int = Field(1, ge=1, description="timesteps and noises, or holes, of each picture for F; search 1 to 8")

    def prepare(self, given: Preparation) -> Prepared:
        """{"precision/<weight>": of its shape}; nothing for l2. Raises ParamsError if a spread is asked and unknown."""
        if self.anchor == "fisher":
            information = fisher(given, replayed(given, self.drawn), self.views)
            return balanced(information, self.damping, lambda part: part)
        if self.anchor == "spread":
            if given.spread is None:
                raise ParamsError(
                    "unlearn.method: anchor 'spread' reads how the original's weights moved in training, and this "
                    "original has no snapshots; train it with original.snapshots 8, say, or take anchor fisher or l2"
                )
            return balanced(given.spread, self.damping, lambda part: 1 / part)
        return {}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """The anchor is no image's own: every row of the retain term is the whole of it."""
        own = student.loss(batch.forget, student.draw_view(batch.forget.corrupted, draws.at("view", "forget")))
        held = self.gamma * pull(student, original, prepared)
        return Terms(forget=-(1 - self.gamma) * own, retain=held.expand(len(own)))
