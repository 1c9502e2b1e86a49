"""Ascent, then repair: Varshney and Torra, "Realistic Image-to-Image Machine Unlearning via Decoupling and Knowledge
Retention", Big Data Research 2026 (arXiv 2502.04260), an answer to Li et al., ICLR 2024. A variant of ours.

    min  E_r loss(x_r)  +  alpha E_f max(0, lambda - (loss(x_f) - loss0(x_f))),   loss = the family's own

Theirs has two phases: ascent on the forget images until |theta0(T(x_f)) - theta(T(x_f))| >= lambda, and then repair,
training on what is left. Ours has no phases, and so no memory that a resumed run could lose: an image is ascended on
(the gradient of its term is minus that of its loss, as theirs) until its loss is lambda above the original's, and is
silent from then on, while the retain images repair all along. Where the repair brings a forget image back, the ascent
on it resumes; theirs ends without another look. The distance is measured in the loss and not between the two pictures:
that has no slope where they are equal, which is where the student starts. For a squared error it is the stronger:
|theta - theta0| >= |theta - x| - |theta0 - x| >= sqrt(loss0 + lambda) - sqrt(loss0). Unlike max_loss the forget term is
bounded below, by 0. Moves the whole network, as theirs (scope `all`); alpha is the merge's `forget_weight`, search
0.05 to 1.
"""

from __future__ import annotations

import torch
from pydantic import Field

from unlearning.contracts import Generator, Method, Prepared
from unlearning.methods._joint import terms_of, views_of
from unlearning.randomness import Draws
from unlearning.types import Batch, PerImage, Terms, View, joined_view


class AscentRepair(Method, kind="ascent_repair"):
    """Ascend on each forget image until it is drawn `worse` than the original draws it; repair on retain images."""

    worse: float = Field(
        0.25,
        gt=0,
        le=100,
        description="lambda, how far above the original's loss is enough, in the unit of the family's own loss; search "
        "0.05 to how far the mean picture's loss is above it",
    )

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets, one of the original over the forget rows."""
        views = views_of(student, batch, draws)
        own = terms_of(student.loss(batch.forget.joined(batch.retain), joined_view(*views)), batch)
        if not len(batch.forget):
            return own
        above = own.forget - _before(original, batch, views[0])
        return Terms(forget=(self.worse - above).clamp(min=0), retain=own.retain)


@torch.no_grad()
def _before(original: Generator, batch: Batch, view: View) -> PerImage:
    """loss0(x_f), [F]."""
    return original.loss(batch.forget, view)
