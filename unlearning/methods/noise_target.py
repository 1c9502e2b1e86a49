"""Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024, Eq. 10.

    min_E  E_r |E(T(x_r)) - E0(T(x_r))|^2  +  alpha E_f |E(T(x_f)) - E0(T(n))|^2,   n ~ N(mu, S)

Retain images keep their original encoding; forget images are sent where noise under the same hole would be sent. Only
the encoder E moves (scope `encoder`), alpha is the merge's `forget_weight`. The paper's pseudo-code has n ~ N(0, I);
its released code has the mean and deviation of the batch, clamped to the range of images. Ours are those of the forget
set, measured once, so that they depend neither on the batch size nor on the number of processes. With a `bank` (ours)
n is one of K pictures drawn once; where the hole is the same at every step, E0 then sees each of them once and no more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field

from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.methods._joint import (
    along_batch,
    distance,
    encoded_once,
    kept,
    remembered,
    spread,
    targets,
    terms_of,
    under_holes,
    views_of,
)
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Latents, Pair, Terms, View, joined_view

_MEASURED_IMAGES = 1_024  # two scalars: a thousand images fix them to less than the noise's own spread


class NoiseTarget(Method, kind="noise_target"):
    """Move the encoding of every forget image onto the original's encoding of Gaussian noise."""

    uses_targets: ClassVar[bool] = True

    noise: Literal["forget_statistics", "standard"] = Field(
        "forget_statistics",
        description="forget_statistics: mean and deviation of the forget set, as the released code; standard: N(0, I)",
    )
    bank: int = Field(
        0, ge=0, description="noise pictures drawn once and used again, so that E0 sees each once; 0 = new at each step"
    )

    def asks_original(self, prepared: Prepared, targets_known: bool) -> bool:
        """Not where its encodings of the bank and of the retain images are all at hand."""
        return not (targets_known and remembered(prepared, torch.arange(1)))

    def prepare(self, given: Preparation) -> Prepared:
        """Mean and deviation of the forget images, over all their pixels: two scalars. The bank, if there is one."""
        if self.noise == "standard":
            measured = {"mean": torch.tensor(0.0), "deviation": torch.tensor(1.0)}
        else:
            images = torch.cat(list(spread(given.forget, _MEASURED_IMAGES)))
            measured = {"mean": images.mean(), "deviation": images.std()}
        if not self.bank:
            return measured
        draws = replace(given.draws.at("bank"), rows=self.bank, first=0, total=None, device=torch.device("cpu"))
        pictures = self._pictures(measured, draws, given.forget(torch.arange(1)).shape[1:])
        return {**measured, **(encoded_once(given, pictures) or {"bank": pictures})}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets; the original is asked for noise and for the retain rows apart."""
        views = views_of(student, batch, draws)
        target = self._target(original, batch, views, draws.at("noise"), prepared)
        moved = student.encode(batch.forget.joined(batch.retain), joined_view(*views))
        return terms_of(distance(moved, target), batch)

    def _target(
        self, original: Generator, batch: Batch, views: tuple[View, View], draws: Draws, prepared: Prepared
    ) -> Latents:
        """Where noise would be sent, then where the retain images were."""
        if not self.bank or not len(batch.forget):
            noise = self._noise(batch.forget, draws, prepared)
            return targets(original, noise, batch.retain, views)
        which = draws.integers(self.bank)  # [F]
        sent = remembered(prepared, which)
        if not sent:
            return targets(original, under_holes(prepared["bank"][which], batch.forget), batch.retain, views)
        return along_batch(sent, kept(original, batch.retain, views[1])) if len(batch.retain) else sent

    def _noise(self, forget: Pair, draws: Draws, prepared: Prepared) -> Pair:
        """n and T(n): noise under the holes of the forget images."""
        if not len(forget):
            return forget
        return under_holes(self._pictures(prepared, draws, forget.clean.shape[1:]).to(forget.clean), forget)

    def _pictures(self, measured: Prepared, draws: Draws, shape: torch.Size) -> Images:
        mean, deviation = (measured[name].to(draws.device) for name in ("mean", "deviation"))
        noise: Images = mean + deviation * draws.normal(*shape)
        return noise.clamp(-1, 1) if self.noise == "forget_statistics" else noise
