"""Mean code: ours, a bounded variant of noise_target (Li et al., ICLR 2024, Eq. 10).

    min_E  E_r |E(T(x_r)) - E0(T(x_r))|^2  +  alpha E_f |E(T(x_f)) - c|^2,   c = E_r E0(T(x_r))

Not a published method. c is the mean of what the original makes of the kept images, place by place, under the forget
image's own hole and view: the code of an image of which no more is known than that it was kept. mean_target encodes the
mean picture instead, which no training image looks like; c lies amid the codes that the decoder was trained on.

Where the hole and the view never change (MAE and MAGE under a fixed hole) c is one map a level, measured once. Where
they do, places of two images do not correspond: the tokens that are visible differ, and a diffusion encoder's maps
change with the timestep. There each forget image is sent to E0(T(x_r)) of one retain image x_r under the forget image's
own hole and view, another one every time: |E - z|^2 over random z has its minimum at the mean of z, so that the student
learns c of that hole and view. The forget term then cannot fall below the spread of z. Only the encoder moves (scope
`encoder`); alpha is the merge's `forget_weight`, search 0.1 to 2.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.methods._joint import (
    beside_kept,
    distance,
    mean_encoded_once,
    others,
    remembered,
    targets,
    terms_of,
    under_holes,
    views_of,
)
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms, joined_view


class MeanCode(Method, kind="mean_code"):
    """Move the encoding of every forget image onto the mean of the original's encodings of the retain set."""

    uses_targets: ClassVar[bool] = True
    forget_reads_retain: ClassVar[bool] = True

    measured_images: int = Field(
        4_096, ge=1, description="retain images that the mean is taken from, if once; search 256 to all of them"
    )

    def asks_original(self, prepared: Prepared, targets_known: bool) -> bool:
        """Not where c and its encodings of the retain images are all at hand."""
        return not (targets_known and remembered(prepared, torch.arange(1)))

    def prepare(self, given: Preparation) -> Prepared:
        """c, [1, ...] a level, where the hole and the view are the same at every step; else nothing."""
        return mean_encoded_once(given, self.measured_images)

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets; the original is asked for the retain rows, and for c if drawn."""
        views = views_of(student, batch, draws)
        sent = remembered(prepared, torch.zeros(len(batch.forget), dtype=torch.int64))
        if sent:
            target = beside_kept(sent, original, batch.retain, views[1])
        else:
            target = targets(original, under_holes(others(batch), batch.forget), batch.retain, views)
        moved = student.encode(batch.forget.joined(batch.retain), joined_view(*views))
        return terms_of(distance(moved, target), batch)
