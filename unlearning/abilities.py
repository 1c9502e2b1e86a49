"""What some generators can do beyond `contracts.Generator`: a method, scope or metric says which of it it needs."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.types import Images, Latents, Pair, PerImage, View


class Drawing(Generator):
    """A generator that draws its picture in one pass that gradients flow through."""

    @abstractmethod
    def draw(self, pair: Pair, view: View) -> Images:
        """D(E(T(x))), not clamped: [B, C, H, W] float32. Visible pixels come back untouched."""


class Diffusing(Generator):
    """A generator whose encoder is fed the hole too, noised: what stands in it can be drowned."""

    @abstractmethod
    def encode_drowned(self, pair: Pair, view: View) -> Latents:
        """E told the view's timestep, the hole nothing but the view's noise; what is visible stays."""


class Denoising(Generator):
    """A generator that is told nothing but a noised picture m and its timestep, so m may lie between two pictures.

    x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps; a view is (t [B] int64, eps [B, C, H, W]).
    """

    abar: Tensor  # [T] float32

    @abstractmethod
    def predict(self, noised: Images, timestep: Tensor) -> Tensor:
        """The noise in m: [B, C, H, W]."""


class Scoring(Generator):
    """A generator that says how well it knows a whole picture: a bound of its likelihood, or of that's derivative.

    Same draws, same views: what two models say of one picture differs by their weights alone.
    """

    @abstractmethod
    def surprise(self, pair: Pair, draws: Draws) -> PerImage:
        """Its own loss, averaged over as many views as make one image's value steady: [B] float32. Less = known."""

    @abstractmethod
    def surprise_of_nothing(self, pair: Pair, draws: Draws, mean: Images, variance: Images) -> PerImage:
        """The same, [B], of a model that knows each pixel's mean and variance [1, C, H, W], and nothing else."""


class Sharding(Generator):
    """A generator of members, each trained on images of its own and on no other's."""

    shard: nn.ModuleList  # S generators of one recipe
    images: Tensor  # [S] int64, how many images each was trained on
