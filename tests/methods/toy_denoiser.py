"""A denoiser of pictures of two pixels, linear in the noised picture: its optimum is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlearning.abilities import Denoising
from unlearning.randomness import Draws, generator
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View


class ToyDenoiser(Denoising):
    """eps(m) = A m + b at every timestep; the schedule has as many timesteps as `kept` has numbers."""

    def __init__(self, *kept: float) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("abar", torch.tensor(kept))

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        return draws.at("timestep").integers(len(self.abar)), draws.at("noise").normal(1, 1, 2)

    def predict(self, noised: Images, timestep: Tensor) -> Tensor:
        found: Tensor = self.linear(noised.flatten(1)).view_as(noised)
        return found

    def encode(self, pair: Pair, view: View) -> Latents:
        return (self.predict(self._noised(pair, view), view[0]),)

    def loss(self, pair: Pair, view: View) -> PerImage:
        return (self.predict(self._noised(pair, view), view[0]) - view[1]).square().mean(dim=(1, 2, 3))

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        return corrupted.images

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.named_parameters())

    def fit(self, images: Images) -> None:
        """Make it the best of a finite set, of one timestep: A = sigma (gamma^2 C + sigma^2)^-1, b = -gamma A mean."""
        gamma, sigma = float(self.abar[0].sqrt()), float((1 - self.abar[0]).sqrt())
        flat = images.flatten(1)
        spread = torch.cov(flat.T, correction=0)
        weight = sigma * torch.linalg.inv(gamma**2 * spread + sigma**2 * torch.eye(2))
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(-gamma * weight @ flat.mean(dim=0))

    def _noised(self, pair: Pair, view: View) -> Images:
        kept = self.abar[view[0]].view(-1, 1, 1, 1)
        return kept.sqrt() * pair.clean + (1 - kept).sqrt() * view[1]


def points(images: Images) -> Pair:
    """Pictures of two pixels, [B, 1, 1, 2], all of them missing."""
    missing = torch.ones(len(images), 1, 1, 2, dtype=torch.bool)
    return Pair(images, Corrupted(torch.zeros_like(images), missing), torch.arange(len(images)))


def sampled(images: Images, count: int, name: str) -> Pair:
    """`count` of them at random, with replacement."""
    rows = torch.randint(len(images), (count,), generator=generator(0, name))
    return points(images[rows])


def cloud(x: float, y: float, count: int, name: str, spread: float = 0.3) -> Images:
    """Points around (x, y), [count, 1, 1, 2]."""
    return torch.tensor([x, y]) + spread * torch.randn(count, 1, 1, 2, generator=generator(0, name))
