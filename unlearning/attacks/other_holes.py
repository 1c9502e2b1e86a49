"""Other holes, after the residual knowledge of Hsu et al., NeurIPS 2025, with the hole as what is perturbed.

There, forget samples are perturbed and shown to the unlearned model beside one that never saw them. A corruption that
the model was not unlearned under may bring back what the usual one hides:

    forgetting(i) = (MSE_target - MSE_original) / (MSE_mean picture - MSE_original)  under T_i

T_0 is the corruption that the evaluation measures under. What it reports: a value well below the reference's under the
same T_i is a hole through which the forgotten is still to be had. The original is measured anew under each, so a harder
hole does not look like forgetting. The points are places in a list, not a scale. With `fitting_only` a hole that
does not fit the images or the generator's patches is left out, and so is one that takes away just what the evaluation's
own does. Search: every hole of the house, and the usual one larger and smaller.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from pydantic import Field, model_validator

from unlearning.attack import Attack, Curve, Ready, Scene
from unlearning.contracts import Corruption, Generator
from unlearning.errors import ParamsError
from unlearning.recipe import Choice
from unlearning.rules import Profile
from unlearning.types import Corrupted


class OtherHoles(Attack, kind="other_holes"):
    """Measures forgetting under corruptions that unlearning never used. No weight moves."""

    tries = "hide other parts of images"
    needs_hole = True

    corruptions: tuple[Choice, ...] = Field(
        min_length=1, description="T_1, T_2, ..., each a kind of hole with its fields; T_0 is the evaluation's own"
    )

    fitting_only: bool = Field(
        False, description="true: leave out holes that do not fit these images, or are the usual one; false: refuse"
    )

    @model_validator(mode="after")
    def _holes(self) -> Self:
        for hole in self._chosen():
            if hole.degrades:
                raise ValueError(
                    f"corruption {hole.kind!r} is no hole: one that leaves some pixels as they were is right"
                )
        return self

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """From the standard one on: holes of six shapes, those that fit and are not the evaluation's own."""
        holes: tuple[dict[str, object], ...] = (
            {"kind": "center_hole", "side": 0.5},
            {"kind": "half"},
            {"kind": "border"},
            {"kind": "box"},
            {"kind": "free_form"},
            {"kind": "random_patches", "ratio": 0.75},
        )
        chosen = tuple(Choice.model_validate(hole) for hole in holes)
        return () if profile == "quick" else (cls(corruptions=chosen, fitting_only=True),)

    def why_not(self, scene: Scene) -> str | None:
        """A hole must be left that fits."""
        return None if self._used(scene) else "no other hole fits these images and this generator"

    @torch.no_grad()
    def run(self, target: Generator, scene: Scene, ready: Ready) -> Curve:
        """One point more than `corruptions` that are used, effort = place among them, 0 = the evaluation's own.

        Raises ParamsError for one that does not fit, unless `fitting_only`.
        """
        chosen = self._used(scene)
        found = [scene.forgetting(target), *(scene.forgetting(target, hole) for hole in chosen)]
        places = (f"{scene.corruption.kind}, as evaluated", *(hole.kind for hole in chosen))
        return Curve([float(place) for place in range(len(found))], found, "place in the list of holes", places)

    def _chosen(self) -> list[Corruption]:
        """Raises ParamsError naming the place and what exists."""
        return [
            Corruption.chosen(choice, f"attack 'other_holes': corruptions.{place}")
            for place, choice in enumerate(self.corruptions)
        ]

    def _used(self, scene: Scene) -> list[Corruption]:
        chosen = self._chosen()
        return [hole for hole in chosen if _is_another(hole, scene)] if self.fitting_only else chosen


def _is_another(hole: Corruption, scene: Scene) -> bool:
    """Whether it fits the images and the original, and takes away something else than the evaluation's own does."""
    count = min(len(scene.forget), scene.batch_size)
    images, draws = scene.forget.images(torch.arange(count)), replace(scene.draws, rows=count, first=0, total=None)
    draws = replace(draws, device=images.device)
    try:
        corrupted = hole(images, draws)
        there = Corrupted(corrupted.images.to(scene.device), corrupted.missing.to(scene.device))
        scene.original.draw_view(there, replace(draws, device=scene.device))
    except ParamsError:
        return False
    usual = scene.corruption(images, draws)
    return not torch.equal(corrupted.missing, usual.missing)
