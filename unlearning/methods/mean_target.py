"""Mean target: ours, a bounded variant of noise_target (Li et al., ICLR 2024, Eq. 10).

    min_E  E_r |E(T(x_r)) - E0(T(x_r))|^2  +  alpha E_f |E(T(x_f)) - E0(T(m))|^2,   m = E_r x_r

Not a published method: in "Machine Unlearning for Image-to-Image Generative Models" the target is a noise picture n.
Ours is the mean picture m of the retain set, measured once, under the hole of each forget image. The original never
saw noise, and what its decoder makes of E0(T(n)) can be further from the truth than anything a model draws that never
saw the images; m is the best constant guess of someone who knows the kept images only, so the target is bounded and
the same for every forget image under one hole. Only the encoder moves (scope `encoder`); alpha is the merge's
`forget_weight`, search 0.1 to 2.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.methods._joint import (
    beside_kept,
    distance,
    encoded_once,
    mean_picture,
    remembered,
    targets,
    terms_of,
    under_holes,
    views_of,
)
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms, joined_view


class MeanTarget(Method, kind="mean_target"):
    """Move the encoding of every forget image onto the original's encoding of the retain set's mean picture."""

    uses_targets: ClassVar[bool] = True

    measured_images: int = Field(
        4_096, ge=1, description="retain images that the mean picture is taken from; search 256 to all of them"
    )

    def asks_original(self, prepared: Prepared, targets_known: bool) -> bool:
        """Not where its encodings of m and of the retain images are all at hand."""
        return not (targets_known and remembered(prepared, torch.arange(1)))

    def prepare(self, given: Preparation) -> Prepared:
        """The mean picture of the retain set, [C, H, W], and its encoding where the hole is the same at every step."""
        mean = mean_picture(given.retain, self.measured_images)
        return {"mean_picture": mean, **encoded_once(given, mean[None])}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets; the original is asked for m and for the retain rows apart."""
        views = views_of(student, batch, draws)
        sent = remembered(prepared, torch.zeros(len(batch.forget), dtype=torch.int64))
        if sent:
            target = beside_kept(sent, original, batch.retain, views[1])
        else:
            mean = prepared["mean_picture"].to(batch.forget.clean).expand_as(batch.forget.clean)
            target = targets(original, under_holes(mean, batch.forget), batch.retain, views)
        moved = student.encode(batch.forget.joined(batch.retain), joined_view(*views))
        return terms_of(distance(moved, target), batch)
