"""What some generators can do beyond `contracts.Generator`: a method, scope or metric says which of it it needs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Missing, Pair, PerImage, View


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

    @abstractmethod
    def reconstruct_led(self, leader: Self, share: float, corrupted: Corrupted, draws: Draws) -> Images:
        """As `reconstruct`, but the first `share` of the steps, 0 to 1, are `leader`'s, which is of the same recipe.

        At 0 it is this model's picture, at 1 the leader's, to the bit.
        """


class Denoising(Generator):
    """A generator that is told nothing but a noised picture m and its timestep, so m may lie between two pictures.

    x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps, x the picture or its latents, [B, c, h, w]; a view is (t [B] int64,
    eps [B, c, h, w]).
    """

    abar: Tensor  # [T] float32

    def signal(self, pair: Pair) -> Tensor:
        """x, what noise is added to, [B, c, h, w]: the clean pictures themselves, or their latents."""
        return pair.clean

    def grid(self, missing: Missing) -> Missing:
        """The hole where x lies, [B, 1, h, w]."""
        return missing

    @abstractmethod
    def predict(self, noised: Tensor, timestep: Tensor) -> Tensor:
        """The noise in m: [B, c, h, w]."""


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


@dataclass(frozen=True, slots=True)
class Posterior:
    """q(z | x, T(x)) = N(mean, exp(log_variance)), place by place: [B, K, h, w] float32 each."""

    mean: Tensor
    log_variance: Tensor

    def __getitem__(self, rows: Tensor | slice) -> Posterior:
        """Of some of the images."""
        return Posterior(self.mean[rows], self.log_variance[rows])

    def detached(self) -> Posterior:
        """The same, which no gradient moves."""
        return Posterior(self.mean.detach(), self.log_variance.detach())

    def at(self, noise: Tensor) -> Tensor:
        """z = mean + deviation eps, the reparametrised draw (Kingma and Welling, ICLR 2014): [B, K, h, w]."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def through(self, latent: Tensor) -> Tensor:
        """z itself, as the draw that it would be of this posterior: gradients go where they go through `at`."""
        with torch.no_grad():
            noise = (latent - self.mean) / (0.5 * self.log_variance).exp()
        return self.at(noise)

    def log_density(self, latent: Tensor) -> PerImage:
        """log q(z), nats less a constant of the number of latents, [B]."""
        square = (latent - self.mean).square() * (-self.log_variance).exp()
        return -0.5 * (square + self.log_variance).flatten(1).sum(dim=1)

    def divergence(self) -> PerImage:
        """KL(q | N(0, 1)), nats, [B]: (mean^2 + variance - 1 - log variance) / 2, summed over latents."""
        each = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * each.flatten(1).sum(dim=1)


class Variational(Generator):
    """A generator with a latent z ~ N(0, 1), a posterior of it, and a bound of the likelihood at any z.

    Its latents may be drawn of one picture's posterior and explain another picture.
    """

    @abstractmethod
    def posterior(self, pair: Pair) -> Posterior:
        """q(z | x, T(x))."""

    @abstractmethod
    def bound(self, pair: Pair, posterior: Posterior, latent: Tensor) -> PerImage:
        """-log p(x | z, T(x)) + beta KL(q | N(0, 1)) at one z [B, K, h, w]: [B], in the unit of the family's loss.

        Its mean over z ~ q is that loss.
        """


class Sharding(Generator):
    """A generator of members, each trained on images of its own and on no other's."""

    shard: nn.ModuleList  # S generators of one recipe
    images: Tensor  # [S] int64, how many images each was trained on


class Layered(Generator):
    """A generator whose encoder is a row of blocks, each of which can be read."""

    @abstractmethod
    def depths(self, pair: Pair, view: View) -> Latents:
        """What each block of E makes of T(x), [B, L, D] each, shallow first; the last is `encode`'s."""
