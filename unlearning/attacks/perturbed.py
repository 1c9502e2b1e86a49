"""Perturbation: residual knowledge of Hsu et al., NeurIPS 2025, of a generator. No weight moves.

What is visible is changed before the model sees it; the hole stays where it was, and so does the truth in it:

    x'  =  T(x) + d on visible pixels        JPEG at a quality, N(0, sigma^2), a shift, a frame of grey (a crop), or
    d*  =  argmin over |d|_inf <= eps of |D(E(T(x) + d)) - x|^2 over missing pixels                    (adversarial)
    r   =  share of x' drawn by the target  /  share of x' drawn by the reference

An image is drawn if its error is below the middle between the original's and the mean picture's, forgetting 1/2; images
that the original draws no better than the mean picture say nothing, and are left out. r is 1 if both shares are 0 and
at most 100; above 1 the target knows more than who never saw the image, which unperturbed it may hide.

Unlike a thief, the adversary knows the truth: d* says what is still there, not what can be stolen. Where the picture is
drawn in one pass that gradients flow through (`Drawing`) it is found by projected gradient descent (Madry et al., ICLR
2018), each step by eps / 4 along the sign, the best of all steps being kept. Other families have no gradient: of as
many random sign patterns as there are steps the best is taken, for every image its own; that is a weaker adversary, and
an r below 1 says less of it.

What it reports: how much more than the original, under the very same perturbation, the target errs, in units of what
lies between the original and the mean picture at the usual sight: a change that spoils the original's own picture would
leave little between the two, and forgetting would be a ratio to a small number. A target that only looks away at the
usual sight is well below the reference. The points are places in a list, not a scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from pydantic import Field, model_validator

from unlearning.attack import Attack, Curve, Forgotten, Ready, Scene, Shown
from unlearning.attacks._sights import Adversarial, Framed, Jpeg, Noisy, Shifted
from unlearning.contracts import Generator
from unlearning.rules import Profile

_MOST_RATIO = 100.0
_OF_255 = 2 / 255  # one grey level of 8 bits, in images of [-1, 1]


class Perturbed(Attack, kind="perturbed"):
    """Shows the target what is visible, changed a little in many ways."""

    tries = "change a little what it sees"
    needs_hole = True

    jpeg: tuple[int, ...] = Field((75, 30), description="qualities, 1 to 95; search 5 to 95")
    noise: tuple[float, ...] = Field((0.05, 0.1, 0.2), description="sigma, in images of [-1, 1]; search 0.02 to 0.5")
    shifts: tuple[int, ...] = Field((), description="pixels down and to the right; search 1 to an eighth of the side")
    crops: tuple[int, ...] = Field((), description="pixels a side that are greyed; search 1 to an eighth of the side")
    adversarial: tuple[float, ...] = Field((), description="eps, in images of [-1, 1]; published 8 / 255 of [0, 1]")
    adversarial_steps: int = Field(10, ge=1, le=1_000, description="of gradient descent, or sign patterns tried")

    @model_validator(mode="after")
    def _somehow(self) -> Self:
        if not self._sights():
            raise ValueError("one of jpeg, noise, shifts, crops and adversarial must name something")
        if any(not 1 <= quality <= 95 for quality in self.jpeg):
            raise ValueError(f"jpeg is {list(self.jpeg)}: qualities from 1 to 95 are right")
        if any(not 0 < size <= 2 for size in (*self.noise, *self.adversarial)):
            raise ValueError("sizes of noise and adversarial are above 0 and at most 2, the range of images")
        if any(pixels < 1 for pixels in (*self.shifts, *self.crops)):
            raise ValueError("shifts and crops are 1 pixel or more")
        return self

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """From the standard one on JPEG and noise; an audit takes all."""
        if profile == "audit":
            return (cls(shifts=(1,), crops=(1,), adversarial=(4 * _OF_255, 8 * _OF_255)),)
        return (cls(),) if profile == "standard" else ()

    def why_not(self, scene: Scene) -> str | None:
        """A shift or a crop must leave something of the picture."""
        side = min(scene.forget.images(torch.arange(1)).shape[-2:]) if len(scene.forget) else 0
        most = max((*self.shifts, *(2 * pixels for pixels in self.crops)), default=0)
        return None if most < side else f"a shift or crop leaves nothing of images of {side} pixels"

    def prepare(self, scene: Scene) -> Ready:
        """What the reference draws under each."""
        sights = self._sights()
        return Ready(picked={"drawn": [drawn(scene.forgetting(scene.reference, shown=sight)) for sight in sights]})

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Curve:
        """A point for the usual sight and one for each perturbation; the ratio r of each in `numbers`."""
        sights = self._sights()
        usual, *changed = scene.forgetting(target), *(scene.forgetting(target, shown=sight) for sight in sights)
        found = [usual, *(_on_the_scale_of(usual, point) for point in changed)]
        places = ("as evaluated", *(str(sight) for sight in sights))
        shares = [drawn(point) for point in changed]
        beside: Sequence[float] = ready.picked["drawn"]
        numbers = {f"r, {sight}": ratio(*both) for sight, *both in zip(sights, shares, beside, strict=True)}
        numbers["r, all together"] = ratio(_mean(shares), _mean(beside))
        return Curve([float(place) for place in range(len(found))], found, "place in the list", places, numbers)

    def _sights(self) -> list[Shown]:
        return [
            *(Jpeg(quality) for quality in self.jpeg),
            *(Noisy(sigma) for sigma in self.noise),
            *(Shifted(pixels) for pixels in self.shifts),
            *(Framed(pixels) for pixels in self.crops),
            *(Adversarial(size, self.adversarial_steps) for size in self.adversarial),
        ]


def _on_the_scale_of(usual: Forgotten, changed: Forgotten) -> Forgotten:
    """The same errors; knowing nothing is as far from the original here as it is at the usual sight."""
    return Forgotten(changed.errors, changed.original, changed.original + (usual.nothing - usual.original))


def drawn(point: Forgotten) -> float:
    """Share of images that are nearer to the original's error than to the mean picture's; NaN if none says anything."""
    telling = point.original < point.nothing
    halfway = (point.original + point.nothing) / 2
    return float((point.errors < halfway)[telling].mean()) if telling.any() else float("nan")


def ratio(target: float, reference: float) -> float:
    """r, of two shares: 1 of 0 and 0, 100 at most; NaN of NaN."""
    if reference == 0:
        return 1.0 if target == 0 else _MOST_RATIO if target > 0 else float("nan")
    return float(np.minimum(target / reference, _MOST_RATIO))


def _mean(shares: Sequence[float]) -> float:
    return float(np.mean(shares))
