"""Probes: Alain and Bengio, "Understanding Intermediate Layers Using Linear Classifier Probes", ICLR 2017 workshop.

Unlearning that moves an encoder may move its last layers alone, and what was forgotten is still read off the first
ones. At every depth of E (every map that the decoder reads; of a ViT every block), images to forget are told from
held-out images that no request covers, as many of each:

    z_l = mean and deviation over places of map l of E(T(x)), the mean over k fixed views, standardised
    linear   a logistic regression on z_l            k-NN   the share of the nearest z_l that are to be forgotten

both out of fold (_told_apart.py). What it reports: the reference reads as much of a class that it never saw as its
neighbours teach it, so beyond the reference stands what only training on these images, or unlearning them, has put
there: an encoder that throws them all together is read with ease. The headline is the linear probe at the depth where
the original is read best. Beside it, at every depth, linear CKA (_alignment.py) to the original and to the reference,
over the images to forget and over the held-out ones: forgetting should move the first away from the original, toward
the reference, and leave the second. Search: views 1 to 16; penalty 0.1 to 100; neighbours 3 to 30.

What it cannot see: what is left but in no pooled mean or deviation, where a thing stands in the picture, say; what
only a deeper probe reads; what the decoder still knows, for which there is the fresh decoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from unlearning.attack import Attack, Group, Ready, Scene, Separation, Told
from unlearning.attacks import _known_by, _told_apart
from unlearning.attacks._alignment import cka
from unlearning.attacks._known_by import Features
from unlearning.contracts import Generator
from unlearning.rules import Profile

_GROUPS = ("images to forget", "held-out images that no request covers")
_SETS = ("forget", "held out")

Depths = Sequence[Features]  # shallow first, [N, F] each


class Probe(Attack, kind="probe"):
    """Reads the encoder at every depth, by a linear probe and by nearest neighbours. No weight moves."""

    tries = "read forgotten images off every layer"

    views: int = Field(4, ge=1, le=1_000, description="k, holes and views that embeddings are averaged over")
    penalty: float = Field(10.0, gt=0, description="of the linear probe's squared weights; search 0.1 to 100")
    neighbours: int = Field(10, ge=1, description="of k-NN; search 3 to 30")

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """From the standard one on."""
        return () if profile == "quick" else (cls(),)

    def why_not(self, scene: Scene) -> str | None:
        """It needs images of both groups, to be told of and to guess."""
        for group in (scene.forget, scene.holdout):
            if len(group) < _told_apart.FEWEST:
                return f"the {group.name} set has {len(group)} images, and {_told_apart.FEWEST} are the fewest"
        return None

    def prepare(self, scene: Scene) -> Ready:
        """What original and reference say of the images, and the depth where the original is read best."""
        original, reference = (self._read(model, scene) for model in (scene.original, scene.reference))
        areas = [_told_apart.area(self._linear(place, *read)) for place, read in enumerate(zip(*original, strict=True))]
        return Ready(None, {"depth": int(np.argmax(areas)), "original": original, "reference": reference})

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Told:
        """Two probes a depth, the headline first; CKA of every depth to the original and to the reference."""
        read = self._read(target, scene)
        linear = [self._linear(place, *both) for place, both in enumerate(zip(*read, strict=True))]
        judge = _told_apart.neighbours(self.neighbours)
        nearest = [
            _told_apart.guessed(f"depth {place + 1}, k-NN", judge, *both)
            for place, both in enumerate(zip(*read, strict=True))
        ]
        headline = linear.pop(int(ready.picked["depth"]))
        numbers = {
            f"CKA to the {model}, {name}, depth {place + 1}": cka(here, there)
            for model in ("original", "reference")
            for name, mine, theirs in zip(_SETS, read, ready.picked[model], strict=True)
            for place, (here, there) in enumerate(zip(mine, theirs, strict=True))
        }
        return Told([headline, *linear, *nearest], _GROUPS, numbers=numbers)

    def _read(self, model: Generator, scene: Scene) -> tuple[Depths, Depths]:
        """Of as many images to forget as held-out ones."""
        forget, other = self._groups(scene)
        return (
            _known_by.embedded(model, forget, scene, self.views),
            _known_by.embedded(model, other, scene, self.views),
        )

    def _groups(self, scene: Scene) -> tuple[Group, Group]:
        most = min(len(scene.forget), len(scene.holdout))
        return _known_by.evenly(scene.forget, most), _known_by.evenly(scene.holdout, most)

    def _linear(self, place: int, one: Features, other: Features) -> Separation:
        return _told_apart.guessed(f"depth {place + 1}, linear", _told_apart.linear(self.penalty), one, other)
