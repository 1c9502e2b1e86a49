"""A conditional VAE: a posterior that is told all there is, and a decoder that is told z and what is visible.

E, in D(E(T(x))), is all that reads a picture: the posterior, and `seen`, the maps that the decoder has of T(x). A
picture is drawn through `seen` alone, because who draws does not have x.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning.abilities import Drawing, Posterior, Scoring, Variational
from unlearning.generators._vae_networks import Network
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View

_ENCODER = ("encoder.", "seen.")
_LOG_VARIANCES = (-30.0, 20.0)  # as diffusers has them
_LEAST = math.log(2 / 255 / math.sqrt(12))  # log sigma of what rounding to 8 bits alone does to a pixel in [-1, 1]
_PACE = 10  # an optimizer moves every weight by about its rate, and log sigma has further to go than others
_DRAWS = 8  # of z for a surprise, each with its mirror image: what is odd in eps cancels


class ConditionalVae(Drawing, Variational, Scoring):
    """q(z | x, T(x)), p(x | z, T(x)) = N(D(z, T(x)), sigma^2) and p(z) = N(0, 1)."""

    log_sigma: Tensor  # [], where sigma is not learnt

    def __init__(self, network: Network, sigma: float | None, beta: float) -> None:
        super().__init__()
        self.encoder, self.seen, self.decoder = network.encoder, network.seen, network.decoder
        self.latent, self.beta = network.latent, beta
        self.noise = nn.Parameter(torch.zeros(1)) if sigma is None else None  # log sigma, in units of 1 / _PACE
        if sigma is not None:
            self.register_buffer("log_sigma", torch.tensor(math.log(sigma)), persistent=False)

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """(eps [B, K, h, w],): of the posterior in `encode` and `loss`; z itself, of the prior, where none is known."""
        return (draws.at("latent").normal(*self.latent),)

    def posterior(self, pair: Pair) -> Posterior:
        """q(z | x, T(x)). Its log-variance is kept within [-30, 20]."""
        found: Tensor = self.encoder(torch.cat([pair.clean, _told(pair.corrupted)], dim=1))
        mean, log_variance = found.float().chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(*_LOG_VARIANCES))

    def encode(self, pair: Pair, view: View) -> Latents:
        """Mean and log-variance of q, [B, K, h, w] each, and the maps of T(x). eps has no say in them."""
        found = self.posterior(pair)
        return (found.mean, found.log_variance, *self._seen(pair.corrupted))

    def bound(self, pair: Pair, posterior: Posterior, latent: Tensor) -> PerImage:
        """-log p(x | z, T(x)) + beta KL(q | N(0, 1)), nats per missing pixel and channel: [B]."""
        return self._bound(pair, posterior, self.decode(latent, self._seen(pair.corrupted)), self.beta)

    def loss(self, pair: Pair, view: View) -> PerImage:
        """`bound` at the draw of q that the view says: the negative ELBO where beta is 1, [B]."""
        found = self.posterior(pair)
        return self.bound(pair, found, found.at(view[0]))

    def decode(self, latent: Tensor, seen: Latents) -> Images:
        """D(z, T(x)), not clamped: [B, C, H, W] float32."""
        drawn: Tensor = self.decoder(latent, seen)
        return drawn.float()

    def draw(self, pair: Pair, view: View) -> Images:
        """In the hole D(z, T(x)), z = eps: a draw of the prior, which has not seen x."""
        drawn = self.decode(view[0], self._seen(pair.corrupted))
        return torch.where(pair.corrupted.missing, drawn, pair.corrupted.images)

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """As `draw`, clamped to [-1, 1]: one of the pictures that fit what is visible, without the pixels' noise."""
        (latent,) = self.draw_view(corrupted, draws)
        drawn = self.decode(latent, self._seen(corrupted)).clamp(-1, 1)
        return torch.where(corrupted.missing, drawn, corrupted.images)

    @torch.no_grad()
    def surprise(self, pair: Pair, draws: Draws) -> PerImage:
        """-ELBO, nats per missing pixel and channel, over 16 draws of z, whatever beta is: a bound of -log p(x | T(x)).

        The draws lie at the same eps for every model: [B].
        """
        found, seen = self.posterior(pair), self._seen(pair.corrupted)
        shape, values = found.mean.shape[1:], list[Tensor]()
        for number in range(_DRAWS):
            noise = draws.at("surprise", number).normal(*shape)
            values += [
                self._bound(pair, found, self.decode(found.at(side), seen), beta=1.0) for side in (noise, -noise)
            ]
        return torch.stack(values).mean(0)

    @torch.no_grad()
    def surprise_of_nothing(self, pair: Pair, draws: Draws, mean: Images, variance: Images) -> PerImage:
        """-log N(x; mean, max(variance, sigma^2)) per missing pixel and channel, [B]. Nothing is drawn.

        What a decoder with this sigma says at best if a latent a pixel is all it has: mean + sqrt(variance - sigma^2)
        z, whose ELBO is tight, and at a pixel that varies less than sigma, the mean, at no KL.
        """
        spread = torch.maximum(variance, (2 * self._log_sigma()).exp())
        return _mean_missing(0.5 * ((pair.clean - mean).square() / spread + (2 * math.pi * spread).log()), pair)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """All that reads a picture: the way from [x, T(x), hole] to q, and that from [T(x), hole] to the decoder."""
        return {name: weight for name, weight in self.named_parameters() if name.startswith(_ENCODER)}

    def _bound(self, pair: Pair, posterior: Posterior, drawn: Images, beta: float) -> PerImage:
        logarithm = self._log_sigma()
        error = (pair.clean - drawn).square() * (-2 * logarithm).exp()
        unexplained = _mean_missing(0.5 * (error + math.log(2 * math.pi)) + logarithm, pair)
        return unexplained + beta * posterior.divergence() / _counted(pair)

    def _seen(self, corrupted: Corrupted) -> Latents:
        seen: Latents = self.seen(_told(corrupted))
        return seen

    def _log_sigma(self) -> Tensor:
        """log of the deviation of a pixel around what the decoder draws, []."""
        if self.noise is None:
            return self.log_sigma
        return _LEAST + functional.softplus(_PACE * self.noise.squeeze() - _LEAST)


def _told(corrupted: Corrupted) -> Tensor:
    """[T(x), hole], [B, C + 1, H, W]."""
    return torch.cat([corrupted.images, corrupted.missing.to(corrupted.images.dtype)], dim=1)


def _counted(pair: Pair) -> Tensor:
    """How many numbers of each picture are missing, [B]."""
    return pair.corrupted.missing.expand_as(pair.clean).flatten(1).sum(dim=1).float()


def _mean_missing(values: Tensor, pair: Pair) -> PerImage:
    """[B, C, H, W] over an image's missing pixels: [B]."""
    return (values * pair.corrupted.missing).flatten(1).sum(dim=1) / _counted(pair)
