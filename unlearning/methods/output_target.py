"""Output target: ours, a bounded variant of noise_target (Li et al., ICLR 2024, Eq. 10) in the space of pictures.

    min_E  E_r |D(E(T(x_r))) - o_r|^2  +  alpha E_f |D(E(T(x_f))) - (o_f + level (m - o_f))|^2
    o = D(E0(T(x))), the original's own picture;  m = E_r x_r;  squared error on missing pixels, before the clamp

Not a published method. Li et al. compare encodings, and what the frozen decoder D makes of an encoding that is half way
is anybody's guess. Here gradients flow back through D, which stays as it is, and the error is what a user would see.
m is the best constant guess of someone who knows the kept images only, so the target is bounded.

`level` is how far to go. If o_f is the mean of x_f given what is visible, its error x_f - o_f is uncorrelated with all
that is a function of what is visible, and so with m - o_f. Then, over the missing pixels,

    E |x_f - (o_f + level (m - o_f))|^2  =  E |x_f - o_f|^2  +  level^2 E |m - o_f|^2

and normalised forgetting, 0 at o_f and 1 at m, is level^2: for nine tenths of it, level = 0.95. An original that is
worse than the conditional mean makes it differ by the correlation of its error with m - o_f.
Only the encoder moves (scope `encoder`); alpha is the merge's `forget_weight`, search 0.1 to 2.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import nn

from unlearning.abilities import Drawing
from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.methods._joint import mean_picture, terms_of, view_of
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Missing, PerImage, Terms


class OutputTarget(Method, kind="output_target"):
    """Pull what is drawn of forget images to the mean picture, and of retain images to what was always drawn."""

    requires: ClassVar[type[nn.Module]] = Drawing

    level: float = Field(
        1.0, ge=0, le=1, description="how far from the original's picture to the mean picture; search 0.8 to 1"
    )
    measured_images: int = Field(
        4_096, ge=1, description="retain images that the mean picture is taken from; search 256 to all of them"
    )

    def prepare(self, given: Preparation) -> Prepared:
        """The mean picture of the retain set, [C, H, W]."""
        return {"mean_picture": mean_picture(given.retain, self.measured_images)}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the whole student and one of the whole original, both over both sets."""
        both, view = batch.forget.joined(batch.retain), view_of(student, batch, draws)
        with torch.no_grad():
            own = cast(Drawing, original).draw(both, view)
            forget, retain = own[: len(batch.forget)], own[len(batch.forget) :]
            target = torch.cat([forget + self.level * (prepared["mean_picture"].to(own) - forget), retain])
        return terms_of(_error(cast(Drawing, student).draw(both, view), target, both.corrupted.missing), batch)


def _error(drawn: Images, target: Images, missing: Missing) -> PerImage:
    """Squared error, averaged over an image's missing pixels: [B]."""
    counted = missing.expand_as(drawn).float()
    return ((drawn.float() - target.float()).square() * counted).flatten(1).sum(dim=1) / counted.flatten(1).sum(dim=1)
