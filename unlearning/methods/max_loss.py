"""Max loss, a baseline of Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024.

    min  E_r loss(x_r)  -  alpha E_f loss(x_f),   loss = the family's own

Gradient ascent on what is to be forgotten, descent on what is kept; the published baseline moves the whole network
(scope `all`). The forget term has no lower bound: alpha (the merge's `forget_weight`) is small, search 0.001 to 0.25 on
a log scale, and the steps are few. With the retain voice left out (weighted_sum, retain_weight 0) this is NegGrad
(Golatkar et al., CVPR 2020); with the merge clipped_forget it is SISS without importance sampling (Alberti et al., ICLR
2025) for any family.
"""

from __future__ import annotations

from unlearning.contracts import Generator, Method, Prepared
from unlearning.methods._joint import terms_of, view_of
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms


class MaxLoss(Method, kind="max_loss"):
    """The forget images' own loss with its sign turned, the retain images' own as it is; NegGrad and SISS No-IS too."""

    uses_original = False

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets."""
        losses = student.loss(batch.forget.joined(batch.retain), view_of(student, batch, draws))
        own = terms_of(losses, batch)
        return Terms(forget=-own.forget, retain=own.retain)
