"""Exposure: the Streisand effect of Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020.

A model that was made worse on what it had to forget tells everybody what that was. From what the target makes of an
image, can one tell that it was in the forget set, and is no other image? Five scores an image:

    own loss         mean of L(x; view) over fixed views; of a family that scores pictures, its surprise
    reconstruction   mean of MSE(drawn into the hole, x), where something is drawn into a hole
    norm             |z|,  z = mean and deviation over places of the deepest map of E(T(x))
    distance         |z - m|,  m the mean of z over the retain images
    Mahalanobis      ((z - m)' S^-1 (z - m))^1/2,  S the covariance there, shrunk as Ledoit and Wolf, 2004, do

The headline is a logistic regression on all of them, out of fold: each image is scored by one that was fitted to four
fifths of the images and not to it (_told_apart.py). The one after it sees the outputs alone. What it reports: the
images to forget are of other classes than the held-out ones where a class is to be forgotten, and a 3 is no 5 to any
model, so an AUC says nothing by itself; beyond that of the reference, for whom both were never there, it is a betrayal.
Either way round: images that are known less betray as those do that are known more. Search: views 4 to 32.

What it cannot see: where the classes alone tell everything (a reference near 1), nothing beyond can be seen; a mark in
what a picture looks like, rather than in how wrong it is, is the observer's to find (metrics/_observer.py).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from unlearning.attack import Attack, Group, PerImageNumbers, Ready, Scene, Separation, Told
from unlearning.attacks import _known_by, _told_apart
from unlearning.attacks._known_by import Features
from unlearning.contracts import Generator
from unlearning.rules import Profile

_GROUPS = ("images to forget", "held-out images that no request covers")
_PENALTY = 1.0  # of the squared weights: five weights for dozens of images need little


class Exposure(Attack, kind="exposure"):
    """Tells images to forget from others by what the target makes of them. No weight moves."""

    tries = "tell which images were forgotten"

    views: int = Field(8, ge=1, le=1_000, description="holes and views of the loss and of E; search 4 to 32")
    drawings: int = Field(2, ge=1, le=1_000, description="holes that are drawn into; search 1 to 8")

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """Always, with more views the larger the profile: being told apart matters to both goals."""
        if profile == "quick":
            return (cls(views=4, drawings=1),)
        return (cls(),) if profile == "standard" else (cls(views=16, drawings=4),)

    def why_not(self, scene: Scene) -> str | None:
        """It needs images of both groups to be told of and to guess, and retain images for the mean."""
        for group in (scene.forget, scene.holdout, scene.retain):
            if len(group) < _told_apart.FEWEST:
                return f"the {group.name} set has {len(group)} images, and {_told_apart.FEWEST} are the fewest"
        return None

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Told:
        """All scores together, the outputs alone, each by itself."""
        known = _known_by.embedded(target, scene.retain, scene, self.views)[-1]
        one, other = (self._scores(target, group, scene, known) for group in (scene.forget, scene.holdout))
        outputs = [name for name in one if name in ("own loss", "reconstruction")]
        judge = _told_apart.linear(_PENALTY)
        together = [
            _told_apart.guessed(said, judge, _table(one, names), _table(other, names))
            for said, names in (("all scores together", list(one)), ("outputs alone", outputs))
        ]
        apart = [Separation(name, one[name], other[name]) for name in one]
        return Told([*together, *apart], _GROUPS, two_sided=True)

    def _scores(self, target: Generator, group: Group, scene: Scene, known: Features) -> dict[str, PerImageNumbers]:
        """[N] by name; `known` are the retain images' embeddings."""
        found = {"own loss": _known_by.own_loss(target, group, scene, self.views)}
        if not scene.corruption.leaves_nothing:
            found["reconstruction"] = _known_by.drawing_error(target, group, scene, self.drawings)
        embedding = _known_by.embedded(target, group, scene, self.views)[-1]
        return {**found, **_stand_out(embedding, known)}


def _stand_out(embedding: Features, known: Features) -> dict[str, PerImageNumbers]:
    """How far N embeddings [N, F] stand out of [R, F]: three numbers an image, NaN where one is not finite."""
    from sklearn.covariance import LedoitWolf  # a second to import: only who is attacked waits

    centred, spread = embedding - known.mean(axis=0), known - known.mean(axis=0)
    found = {"embedding norm": np.linalg.norm(embedding, axis=1), "embedding distance": np.linalg.norm(centred, axis=1)}
    if not (np.isfinite(centred).all() and np.isfinite(spread).all()):
        return {**found, "Mahalanobis distance": np.full(len(embedding), np.nan)}
    seen = spread.std(axis=0) > 0
    if not seen.any():  # an encoder that says the same of every image
        return {**found, "Mahalanobis distance": found["embedding distance"]}
    scale = spread[:, seen].std(axis=0)  # shrinking is toward a ball: of features in one unit
    squares = LedoitWolf(assume_centered=True).fit(spread[:, seen] / scale).mahalanobis(centred[:, seen] / scale)
    return {**found, "Mahalanobis distance": np.sqrt(np.maximum(squares, 0.0))}


def _table(scores: dict[str, PerImageNumbers], names: list[str]) -> Features:
    return np.stack([scores[name] for name in names], axis=1)
