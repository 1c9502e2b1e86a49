"""A fresh decoder: Li et al., ICLR 2024, move the encoder alone, so is what it says less, or only said otherwise?

The target's encoder E is frozen, and a small decoder F of the attacker's own learns from it on retain images:

    F = argmin  E_r |F(E(T(x_r))) - x_r|^2  over missing pixels
    forgetting(t) = forgetting of E with F_t after t steps in the decoder's place;  at 0 the target with its own

F is told nothing but the embedding (and where a token stands): a decoder that sees the visible pixels in-paints by
itself, with any encoder. E is never handed the truth: it is given T(x) in the stead of x, and a diffusion encoder the
hole as noise (`encode_drowned`), at the timesteps that its own training draws; F's pictures are averaged over `views`.

What it reports: how much of an image to forget can be read out of the embedding. The original's own curve is what E0
knows, the reference's what anyone's encoder could know: most of it is the visible part of the picture, passed on. The
floor below all is in `numbers`: the same decoder behind E0 with the entries of each of its weights shuffled, which
passes on what is visible and knows nothing. Search: steps up to 3000, width 32 to 256, learning_rate 5e-4 to 4e-3.
"""

from __future__ import annotations

import copy

import torch
from pydantic import Field
from torch import Tensor

from unlearning.abilities import Diffusing
from unlearning.attack import Curve, Forgotten, Ready, Scene
from unlearning.attacks import _lessons
from unlearning.attacks._repainted import Repainted
from unlearning.attacks._small_network import SmallNetwork, hole_error, maps_of
from unlearning.contracts import Generator
from unlearning.randomness import Draws, generator
from unlearning.types import Corrupted, Images, Pair, View

_EXAMPLES = 256  # retain images that the scale of the embedding is measured on


class FreshDecoder(_lessons.Taught, kind="fresh_decoder"):
    """Trains a decoder of its own behind the target's frozen encoder, on retain images."""

    tries = "read its embeddings with another decoder"

    views: int = Field(4, ge=1, description="of a picture that are averaged, where a view is drawn; 1 where it is not")

    def prepare(self, scene: Scene) -> Ready:
        """The floor: the same behind an encoder that knows nothing."""
        points = self._points(_shuffled(scene.original, scene), scene, self.steps[-1:])
        return Ready(picked={"floor": points[-1].value})

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Curve:
        """A point for each of `steps`. torch's global stream is as before."""
        found = [scene.forgetting(target), *self._points(target, scene, self.steps[1:])]
        numbers = {"forgetting behind a shuffled encoder": float(ready.picked["floor"])}
        return Curve([float(step) for step in self.steps], found, "steps", numbers=numbers)

    def _points(self, target: Generator, scene: Scene, steps: tuple[int, ...]) -> list[Forgotten]:
        examples = self._maps(target, scene, _lessons.evenly(len(scene.retain), _EXAMPLES), "examples")[0]
        mean = _lessons.mean_picture(scene.retain)
        network = _lessons.built(scene, lambda: SmallNetwork(examples, mean.to(scene.device), self.width, self.depth))
        attacked = Redecoded(target, network, self.views)

        def lesson(number: int) -> Tensor:
            rows = _lessons.rows(scene, len(scene.retain), self.batch_size, number)
            maps, clean, corrupted = self._maps(target, scene, rows, "lesson", number)
            return hole_error(network(maps), clean, corrupted.missing)

        return [scene.forgetting(attacked) for _ in _lessons.taught(network, lesson, steps, self.learning_rate)]

    def _maps(
        self, target: Generator, scene: Scene, rows: Tensor, *where: int | str
    ) -> tuple[list[Tensor], Images, Corrupted]:
        clean = scene.retain.images(rows).to(scene.device)
        draws = _lessons.draws_of(scene, len(rows), *where)
        corrupted = scene.corruption(clean, draws.at("corruption"))
        return embedded(target, corrupted, target.draw_view(corrupted, draws.at("view"))), clean, corrupted


class Redecoded(Repainted):
    """The target's encoder with another decoder behind it; visible pixels come back untouched."""

    def __init__(self, target: Generator, network: SmallNetwork, views: int) -> None:
        super().__init__(target)
        self.network, self.views = network, 1 if target.view_is_fixed else views

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """The mean of F(E(T(x))) over `views`, clamped to [-1, 1]."""
        drawn = list[Images]()
        for number in range(self.views):
            view = self.target.draw_view(corrupted, draws.at("fresh", number))
            drawn.append(self.network(embedded(self.target, corrupted, view)))
        return torch.where(corrupted.missing, torch.stack(drawn).mean(0).clamp(-1, 1), corrupted.images)


@torch.no_grad()
def embedded(target: Generator, corrupted: Corrupted, view: View) -> list[Tensor]:
    """E(T(x)) as maps [B, K, h, w], of an encoder that is given T(x) wherever it asks for x."""
    blind = Pair(corrupted.images, corrupted, torch.arange(len(corrupted.images)))
    latents = target.encode_drowned(blind, view) if isinstance(target, Diffusing) else target.encode(blind, view)
    return [level.float() for level in maps_of(latents, view)]


@torch.no_grad()
def _shuffled(original: Generator, scene: Scene) -> Generator:
    """E0 with the entries of each weight in another order: as loud, and it knows nothing."""
    stranger = copy.deepcopy(original).eval()
    for name, weight in stranger.encoder_parameters().items():
        stream = generator(scene.draws.seed, *scene.draws.where, "shuffled", name)
        order = torch.randperm(weight.numel(), generator=stream)
        weight.copy_(weight.flatten()[order.to(weight.device)].view_as(weight))
    return stranger
