"""Noisy label, a baseline of Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024.

    min  E_r loss(T(x_r), x_r)  +  alpha E_f loss(T(x_f), n),   n ~ N(mu_f, s_f), loss = the family's own

The student is shown the visible part of a forget image and taught that noise was in the hole: pixels of noise (MAE),
the codes of a noise picture (MAGE), the noise added to pure noise (diffusion). The released MAGE code draws code
numbers instead, N(mean, deviation) of the true ones; numbers of codes have no order, so ours are codes of a noise
picture. mu_f and s_f are the forget set's, measured once. Moves the whole network (scope `all`); alpha is the merge's
`forget_weight`, search 0.05 to 1.
"""

from __future__ import annotations

import torch
from pydantic import Field

from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.methods._joint import spread, terms_of, view_of
from unlearning.randomness import Draws
from unlearning.types import Batch, Pair, Terms


class NoisyLabel(Method, kind="noisy_label"):
    """The forget images' own loss against a truth of noise, the retain images' own loss as it is."""

    uses_original = False

    measured_images: int = Field(
        1_024, ge=2, description="forget images that the noise's mean and deviation are taken from; not worth a search"
    )

    def prepare(self, given: Preparation) -> Prepared:
        """Mean and deviation of the forget images, over all their pixels: two scalars."""
        images = torch.cat(list(spread(given.forget, self.measured_images)))
        return {"mean": images.mean(), "deviation": images.std()}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets."""
        taught = self._taught(batch.forget, draws.at("noise"), prepared)
        losses = student.loss(taught.joined(batch.retain), view_of(student, batch, draws))
        return terms_of(losses, batch)

    def _taught(self, forget: Pair, draws: Draws, prepared: Prepared) -> Pair:
        """T(x_f) as it is, and noise in the place of the truth."""
        if not len(forget):
            return forget
        mean, deviation = (prepared[name].to(forget.clean) for name in ("mean", "deviation"))
        noise = (mean + deviation * draws.normal(*forget.clean.shape[1:])).clamp(-1, 1)
        # What is visible stays: a diffusion encoder is fed the clean picture too, and noise is meant for the hole.
        return Pair(torch.where(forget.corrupted.missing, noise, forget.clean), forget.corrupted, forget.rows)
