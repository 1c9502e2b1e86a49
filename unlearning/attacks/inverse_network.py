"""An inverse network: what the target draws may not look like the image, and still say which image it was.

Fredrikson et al., "Model Inversion Attacks that Exploit Confidence Information ...", CCS 2015, with the attacker's
network of Yang et al., "Neural Network Inversion in Adversarial Setting via Background Knowledge Alignment", CCS 2019:
on images that the attacker has, a network G learns the way back from the target's output to what it was made from,

    G = argmin  E_r |G(D(E(T(x_r)))) - x_r|^2  over missing pixels
    forgetting(t) = forgetting of the target with G_t behind it after t steps;  at 0 the target as it is

G sees what the target drew into the hole and where the hole is, never the visible pixels: with those it would in-paint
by itself, behind any target. What it reports: what the output still carries, whatever it looks like: a picture turned
into its negative, or under a veil of noise that is the same for all. Noise of its own for every image leaves nothing to
G but the mean picture: forgetting 1. Search: steps up to 3000, pictures 256 to 8192, width 32 to 256.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from unlearning.attack import Curve, Ready, Scene
from unlearning.attacks import _lessons
from unlearning.attacks._repainted import Repainted
from unlearning.attacks._small_network import SmallNetwork, hole_error
from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Missing


class InverseNetwork(_lessons.Taught, kind="inverse_network"):
    """Trains a network from the target's output back to the truth, on retain images."""

    tries = "learn back from output to image"

    pictures: int = Field(
        1024, ge=1, description="the target draws to learn from, evenly over the retain images, each with its own hole"
    )

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Curve:
        """A point for each of `steps`. torch's global stream is as before."""
        truth, drawn, missing = self._pool(target, scene)
        examples, mean = [_read(drawn, missing)], _lessons.mean_picture(scene.retain)
        network = _lessons.built(scene, lambda: SmallNetwork(examples, mean, self.width, self.depth))

        def lesson(number: int) -> Tensor:
            rows = _lessons.rows(scene, len(truth), self.batch_size, number)
            here, hole = drawn[rows].to(scene.device), missing[rows].to(scene.device)
            return hole_error(network([_read(here, hole)]), truth[rows].to(scene.device), hole)

        found, behind = [scene.forgetting(target)], Inverted(target, network)
        for _ in _lessons.taught(network, lesson, self.steps[1:], self.learning_rate):
            found.append(scene.forgetting(behind))
        return Curve([float(step) for step in self.steps], found, "steps")

    @torch.no_grad()
    def _pool(self, target: Generator, scene: Scene) -> tuple[Images, Images, Missing]:
        """Truth, what the target draws, and where: on the CPU, for a sampler's pictures are dear and kept."""
        rows = torch.arange(self.pictures) * len(scene.retain) // self.pictures
        truth, drawn, missing = list[Images](), list[Images](), list[Missing]()
        for number, part in enumerate(torch.split(rows, scene.batch_size)):
            clean = scene.retain.images(part).to(scene.device)
            draws = _lessons.draws_of(scene, len(part), "pool", number)
            corrupted = scene.corruption(clean, draws.at("corruption"))
            truth.append(clean.cpu())
            drawn.append(target.reconstruct(corrupted, draws.at("reconstruct")).float().cpu())
            missing.append(corrupted.missing.cpu())
        return torch.cat(truth), torch.cat(drawn), torch.cat(missing)


class Inverted(Repainted):
    """The target with a network behind its output; visible pixels come back untouched."""

    def __init__(self, target: Generator, network: SmallNetwork) -> None:
        super().__init__(target)
        self.network = network

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """G(D(E(T(x)))) in the hole, clamped to [-1, 1]."""
        seen = _read(self.target.reconstruct(corrupted, draws).float(), corrupted.missing)
        return torch.where(corrupted.missing, self.network([seen]).clamp(-1, 1), corrupted.images)


def _read(drawn: Images, missing: Missing) -> Tensor:
    """What G sees, [B, C + 1, H, W]: what was drawn into the hole, and the hole."""
    return torch.cat([drawn.masked_fill(~missing, 0.0), missing.to(drawn.dtype)], dim=1)
