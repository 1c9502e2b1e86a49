"""Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024, Eq. 10.

    min_E  E_r |E(T(x_r)) - E0(T(x_r))|^2  +  alpha E_f |E(T(x_f)) - E0(T(n))|^2,   n ~ N(mu, S)

Retain images keep their original encoding; forget images are sent where noise under the same hole would be sent. Only
the encoder E moves (scope `encoder`); alpha is the merge's `forget_weight`, search 0.05 to 1 on a log scale. What n is
(`noise`):

    forget_statistics  mean and deviation of the forget set, clamped to the range of images; measured once, so that they
                       depend neither on the batch size nor on the number of processes
    standard           N(0, I), the paper's pseudo-code (appendix C.4)
    batch_statistics   the released MAGE code: mean and deviation, two scalars, of all rows, forget and retain, that the
                       process sees at once. It depends on the batch size and on the number of processes
    uniform            the released code's other choice: U over the range of images
    constant           and its third: no noise, one grey. Theirs is the batch's mean, ours the forget set's
    hole               the released diffusion code, which has no E0(T(n)): the original is fed [y, m eps + (1 - m) x],
                       its hole pure noise at every timestep, and told the timestep of the view

`hole` leaks: y and what is visible, (1 - m) x, stand untouched in the original's input, so that the forget target still
encodes the whole context of the image. "Be like noise" then means no more than "behave at every timestep as if nothing
were in the hole", and the context is what a reconstruction is made from. An encoder that sees nothing of the hole
(MAE, MAGE) would be sent to where it is already, and is refused.

With a `bank` (ours) n is one of K pictures drawn once; where the hole is the same at every step, E0 then sees each of
them once and no more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from unlearning.abilities import Diffusing
from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.errors import ParamsError
from unlearning.methods import _noise
from unlearning.methods._joint import (
    beside_kept,
    distance,
    encoded_once,
    remembered,
    targets,
    terms_of,
    under_holes,
    views_of,
)
from unlearning.randomness import Draws
from unlearning.types import Batch, Latents, Pair, Terms, View, joined_view


class NoiseTarget(Method, kind="noise_target"):
    """Move the encoding of every forget image onto the original's encoding of noise."""

    uses_targets: ClassVar[bool] = True

    noise: _noise.Kind | Literal["hole"] = Field(
        "forget_statistics",
        description="n: forget_statistics, N(mean, deviation) of the forget set; standard, N(0, I) as in the paper; "
        "batch_statistics, as released; uniform; constant, the forget set's mean grey; hole, as released for diffusion",
    )
    bank: int = Field(
        0, ge=0, description="noise pictures drawn once and used again, so that E0 sees each once; 0 = new at each step"
    )

    @model_validator(mode="after")
    def _bank_is_possible(self) -> Self:
        if self.bank and self.noise in ("batch_statistics", "hole"):
            raise ValueError(f"bank must be 0 for noise {self.noise!r}, which is another for every batch")
        return self

    def needs(self) -> type[nn.Module]:
        """A diffusion generator for `hole`."""
        return Diffusing if self.noise == "hole" else self.requires

    def asks_original(self, prepared: Prepared, targets_known: bool) -> bool:
        """Not where its encodings of the bank and of the retain images are all at hand."""
        return not (targets_known and remembered(prepared, torch.arange(1)))

    def prepare(self, given: Preparation) -> Prepared:
        """Mean and deviation of the forget images, over all their pixels: two scalars. The bank, if there is one."""
        if self.noise == "hole":
            _refuse_blind(given.original)
            return {}
        measured = _noise.measured(self.noise, given.forget)
        if not self.bank:
            return measured
        draws = replace(given.draws.at("bank"), rows=self.bank, first=0, total=None, device=torch.device("cpu"))
        pictures = _noise.pictures(self.noise, measured, draws, given.forget(torch.arange(1)).shape[1:])
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
        forget, retain = batch.forget, batch.retain
        if not len(forget):
            return beside_kept((), original, retain, views[1])
        if self.noise == "hole":
            return beside_kept(_drowned(original, forget, views[0]), original, retain, views[1])
        if not self.bank:
            measured = _noise.measured_now(batch) if self.noise == "batch_statistics" else prepared
            noise = _noise.pictures(self.noise, measured, draws, forget.clean.shape[1:]).to(forget.clean)
            return targets(original, under_holes(noise, forget), retain, views)
        which = draws.integers(self.bank)  # [F]
        sent = remembered(prepared, which)
        if sent:
            return beside_kept(sent, original, retain, views[1])
        return targets(original, under_holes(prepared["bank"][which], forget), retain, views)


@torch.no_grad()
def _drowned(original: Generator, forget: Pair, view: View) -> Latents:
    return _refuse_blind(original).encode_drowned(forget, view)


def _refuse_blind(original: Generator) -> Diffusing:
    if not isinstance(original, Diffusing):
        raise ParamsError(
            f"unlearn.method: 'noise_target' with noise 'hole' needs a generator that is fed the hole, and "
            f"{type(original).__name__} sees nothing of it; forget_statistics is right there"
        )
    return original
