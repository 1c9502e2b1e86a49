"""Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024, Eq. 10.

    min_E  E_r |E(T(x_r)) - E0(T(x_r))|^2  +  alpha E_f |E(T(x_f)) - E0(T(n))|^2,   n ~ N(mu, S)

Retain images keep their original encoding; forget images are sent where noise under the same hole would be sent. Only
the encoder E moves (scope `encoder`), alpha is the merge's `forget_weight`. The paper's pseudo-code has n ~ N(0, I);
its released code has the mean and deviation of the batch, clamped to the range of images. Ours are those of the forget
set, measured once, so that they depend neither on the batch size nor on the number of processes.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.methods._joint import distance, spread, targets, terms_of, under_holes, views_of
from unlearning.randomness import Draws
from unlearning.types import Batch, Pair, Terms, joined_view

_MEASURED_IMAGES = 1_024  # two scalars: a thousand images fix them to less than the noise's own spread


class NoiseTarget(Method, kind="noise_target"):
    """Move the encoding of every forget image onto the original's encoding of Gaussian noise."""

    noise: Literal["forget_statistics", "standard"] = Field(
        "forget_statistics",
        description="forget_statistics: mean and deviation of the forget set, as the released code; standard: N(0, I)",
    )

    def prepare(self, given: Preparation) -> Prepared:
        """Mean and deviation of the forget images, over all their pixels: two scalars."""
        if self.noise == "standard":
            return {"mean": torch.tensor(0.0), "deviation": torch.tensor(1.0)}
        images = torch.cat(list(spread(given.forget, _MEASURED_IMAGES)))
        return {"mean": images.mean(), "deviation": images.std()}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets; the original is asked for noise and for the retain rows apart."""
        views = views_of(student, batch, draws)
        target = targets(original, self._noise(batch.forget, draws.at("noise"), prepared), batch.retain, views)
        moved = student.encode(batch.forget.joined(batch.retain), joined_view(*views))
        return terms_of(distance(moved, target), batch)

    def _noise(self, forget: Pair, draws: Draws, prepared: Prepared) -> Pair:
        """n and T(n): noise under the holes of the forget images."""
        if not len(forget):
            return forget
        mean, deviation = (prepared[name].to(forget.clean) for name in ("mean", "deviation"))
        noise = mean + deviation * draws.normal(*forget.clean.shape[1:])
        if self.noise == "forget_statistics":
            noise = noise.clamp(-1, 1)
        return under_holes(noise, forget)
