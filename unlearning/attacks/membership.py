"""Membership: Yeom et al., IEEE CSF 2018 (loss); Kong et al., ICLR 2024 (PIA); Duan et al., ICML 2023 (SecMI).

"Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting"; "An Efficient Membership Inference Attack
for the Diffusion Model by Proximal Initialization"; "Are Diffusion Models Vulnerable to Membership Inference Attacks?".

What training saw is known better than what it did not see. One number an image, no training, no shadow models:

    loss            - mean of L(x; view) over k fixed views (of a family that scores pictures, its surprise)
    reconstruction  - mean of MSE(drawn into the hole, x) over k drawings: all that a user of the model sees
    pia, secmi      - how far the denoiser strays from itself on x, formulas in _strayed.py; best timestep

Members are the images to forget, others are images of the same classes that no training saw (see `others`). What it
reports: an AUC above the reference's says that something of these images themselves, not of their classes, is left. The
timestep is chosen on the original, by retain against held-out images, on every other one of them; the positive control
is the rest. Search: views 4 to 64; timesteps 0.01 to 0.4 of the schedule.

What it cannot see: what only several images together betray; a member that an attacker with shadow models (LiRA) would
tell; anything at all where the control is blind, as it is where the original itself did not overfit.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import nn

from unlearning.abilities import Denoising
from unlearning.attack import Attack, Group, Ready, Scene, Separation, Told
from unlearning.attacks import _known_by, _strayed
from unlearning.attacks._known_by import Features
from unlearning.attacks._told_apart import area
from unlearning.contracts import Generator
from unlearning.rules import Profile

Share = Annotated[float, Field(gt=0, lt=1)]
Score = Literal["loss", "reconstruction", "pia", "secmi"]

_NAMES: dict[Score, str] = {"loss": "own loss", "reconstruction": "reconstruction", "pia": "PIA", "secmi": "SecMI"}
FEWEST = 20  # images of the same classes: with fewer an AUC says less than one against images of other classes


class Membership(Attack, kind="membership"):
    """Tells images that training saw from images of the same classes that it did not see. No weight moves."""

    tries = "tell what training saw"

    score: Score = Field("loss", description="what tells: loss, reconstruction, or of a denoiser pia, secmi")
    views: int = Field(8, ge=1, le=1_000, description="k, of the loss or of drawings; search 4 to 64")
    timesteps: tuple[Share, ...] = Field(
        (0.01, 0.03, 0.1, 0.2, 0.3),
        min_length=1,
        description="of pia and secmi, shares of the schedule, of which the original's best is taken",
    )
    normalised: bool = Field(False, description="of pia: scale eps(x, 0) to the magnitude of N(0, 1), which is PIAN")

    def needs(self) -> type[nn.Module]:
        """A denoiser for pia and secmi."""
        return Denoising if self._strays else Generator

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """The loss; from the standard one on what is drawn, too; an audit takes all."""
        if profile == "quick":
            return (cls(),)
        if profile == "standard":
            return (cls(), cls(score="reconstruction", views=4))
        return (cls(views=32), cls(score="pia"), cls(score="secmi"), cls(score="reconstruction", views=8))

    def why_not(self, scene: Scene) -> str | None:
        """It needs images of both kinds, and for what is drawn a hole to draw into."""
        if self.score == "reconstruction" and scene.corruption.leaves_nothing:
            return f"under corruption {scene.corruption.kind!r} nothing is drawn into a hole"
        if not len(scene.forget):
            return "the forget set is empty"
        return None if len(others(scene)[0]) else "there is no held-out image"

    def prepare(self, scene: Scene) -> Ready:
        """The best timestep on the original, and the control: retain against held-out images."""
        timesteps = self._places(scene.original)
        if not (len(scene.retain) and len(scene.holdout)):
            return Ready(None, {"place": len(timesteps) // 2})
        seen, unseen = (self._scores(scene.original, group, scene) for group in (scene.retain, scene.holdout))
        if len(timesteps) == 1:
            return Ready(Separation(_NAMES[self.score], seen[:, 0], unseen[:, 0]), {"place": 0})
        tried = [area(Separation("", seen[::2, place], unseen[::2, place])) for place in range(len(timesteps))]
        best = int(np.argmax(tried))
        return Ready(Separation(_NAMES[self.score], seen[1::2, best], unseen[1::2, best]), {"place": best})

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Told:
        """One score an image: higher = rather a member."""
        place, (unseen, said) = int(ready.picked["place"]), others(scene)
        one, other = (self._scores(target, group, scene)[:, place] for group in (scene.forget, unseen))
        numbers = {"timestep": float(self._places(target)[place])} if self._strays else {}
        return Told([Separation(_NAMES[self.score], one, other)], ("images to forget", said), numbers=numbers)

    def _scores(self, model: Generator, group: Group, scene: Scene) -> Features:
        """[N, places], higher = rather a member."""
        if self.score == "loss":
            return -_known_by.own_loss(model, group, scene, self.views)[:, None]
        if self.score == "reconstruction":
            return -_known_by.drawing_error(model, group, scene, self.views)[:, None]
        denoiser, timesteps = cast(Denoising, model), self._places(model)
        if self.score == "secmi":
            return -_known_by.strayed(denoiser, partial(_strayed.secmi, denoiser, timesteps), group, scene)
        stray = partial(_strayed.pia, denoiser, timesteps, self.normalised)
        return -_known_by.strayed(denoiser, stray, group, scene)

    def _places(self, model: Generator) -> list[int]:
        """The timesteps that are tried; of a score that knows none, one place."""
        return _strayed.places(len(cast(Denoising, model).abar), self.timesteps) if self._strays else [0]

    @property
    def _strays(self) -> bool:
        return self.score in ("pia", "secmi")


def others(scene: Scene) -> tuple[Group, str]:
    """Images that no training saw, as near to those to forget as there are enough of, and what they are.

    Held-out ones that a request covers, being of a class or person to forget; else held-out ones of the same classes;
    else all held-out ones: then the classes differ, too, and the reference shows what that alone tells.
    """
    if len(scene.forget_holdout) >= FEWEST:
        return scene.forget_holdout, "held-out images of the same classes"
    wanted = set(scene.forget.classes)
    rows = torch.tensor([row for row, name in enumerate(scene.holdout.classes) if name in wanted], dtype=torch.int64)
    if len(rows) >= FEWEST:
        return _known_by.part(scene.holdout, rows), "held-out images of the same classes"
    return scene.holdout, "held-out images, of other classes too"
