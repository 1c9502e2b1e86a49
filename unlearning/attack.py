"""What an attack is: what it may look at, and what it finds.

An attack hands back raw numbers, one an image. Means, intervals, areas under curves and the distance to the reference
are made of them in one place, alike for every attack (verbs/_attacked.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from unlearning.contracts import Corruption, Generator, ImageSource
from unlearning.randomness import Draws
from unlearning.recipe import Recipe
from unlearning.rules import Profile
from unlearning.types import Corrupted, Images

PerImageNumbers: TypeAlias = npt.NDArray[np.float64]  # [N]


@dataclass(frozen=True, slots=True)
class Group:
    """N images of one set, and the class of each. May be empty."""

    name: str  # of the set, as in report.json
    images: ImageSource
    classes: Sequence[str]

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How wrong a model is on N images to forget, how wrong the original, and how wrong who knows nothing: [N] each."""

    errors: PerImageNumbers
    original: PerImageNumbers
    nothing: PerImageNumbers

    @property
    def value(self) -> float:
        """0 = like the original, 1 = as wrong as the mean picture; NaN where nothing can be said."""
        model, original, nothing = (float(part.mean()) for part in (self.errors, self.original, self.nothing))
        return (model - original) / (nothing - original) if nothing > original else float("nan")


class Shown(Protocol):
    """Changes what a model is shown."""

    def __call__(self, model: Generator, truth: Images, corrupted: Corrupted, draws: Draws) -> Images:
        """What `model` is shown in the stead of `corrupted.images`, [B, C, H, W]; what is missing stays missing."""
        ...


class Forgetting(Protocol):
    """Scores a generator on the images to forget that the report's headline is about."""

    def __call__(
        self, generator: Generator, corruption: Corruption | None = None, shown: Shown | None = None
    ) -> Forgotten:
        """Under the evaluation's corruption or another; the original is measured under the same, `shown` included."""
        ...


@dataclass(frozen=True, slots=True)
class Scene:
    """All that an attack may look at beside its target. Models are frozen, in eval mode, and stay as they are."""

    original: Generator
    reference: Generator
    forget: Group  # training saw them
    forget_holdout: Group  # of the same classes or people, no training saw them
    retain: Group  # training saw them, and still may
    holdout: Group  # no request covers them, no training saw them
    corruption: Corruption
    forgetting: Forgetting
    draws: Draws
    device: torch.device
    batch_size: int  # images that fit in memory at once


@dataclass(frozen=True, slots=True)
class Separation:
    """A score of N images of one group and M of another; higher = rather of the one."""

    name: str  # of the score: "own loss", "encoder level 3, k-NN"
    one: PerImageNumbers
    other: PerImageNumbers


@dataclass(frozen=True, slots=True)
class Ready:
    """What an attack worked out once, from models and images other than its target."""

    control: Separation | None = None  # two groups of which it is known that the original tells them apart
    picked: Mapping[str, Any] = field(default_factory=dict)  # a threshold, a timestep: chosen without the target


@dataclass(frozen=True, slots=True)
class Curve:
    """What an attack brought back, against how hard it tried."""

    effort: Sequence[float]
    forgetting: Sequence[Forgotten]
    effort_unit: str
    places: Sequence[str] = ()  # what each point is, where effort is a place in a list and no scale
    numbers: Mapping[str, float] = field(default_factory=dict)  # what else it found, by name
    teaches: bool = False  # True: it brings along what was forgotten, and so gives it to any model


@dataclass(frozen=True, slots=True)
class Told:
    """How well images can be told apart by what the target makes of them. The first score is the headline."""

    separations: Sequence[Separation]
    groups: tuple[str, str]  # what `one` and `other` are, in words
    two_sided: bool = False  # True: a score that is lower for the one tells as much as one that is higher
    beside: Literal["reference", "original"] = "reference"  # whose own separation is what could not be avoided
    numbers: Mapping[str, float] = field(default_factory=dict)


Finding: TypeAlias = Curve | Told


class Attack(Recipe):
    """One way an attacker or auditor shows that something is left. Run on original, unlearned model and reference."""

    tries: ClassVar[str]  # what, in a handful of words, for who reads one line of it
    needs_hole: ClassVar[bool] = False  # True: looks at what is drawn into a hole, and cannot where nothing is shown

    def needs(self) -> type[nn.Module]:
        """What the generator must be for these fields."""
        return Generator

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """How this attack is made under `profile`, cheapest first; () = not at all."""
        return ()

    def why_not(self, scene: Scene) -> str | None:
        """Why it cannot be made on these images, as a clause; None = it can."""
        return None

    def prepare(self, scene: Scene) -> Ready:
        """Once for all targets: what must not depend on them. A positive control, a threshold."""
        return Ready()

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Finding:
        """What it finds of `target`, which stays as it is. Random numbers come from `scene.draws`, by place."""
        raise NotImplementedError
