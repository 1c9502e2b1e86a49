"""What a model draws of pictures that an attack is about: perturbed copies, the foot below a mark, what is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tests.security.attacked_digits import Picture
from unlearning.contracts import Corruption, Generator
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.metrics._scores import kept, moved
from unlearning.randomness import Draws
from unlearning.types import Images, Missing, Pair

FOOT = 2  # rows of pixels
HOLES = RandomPatches(patch=2, ratio=0.5)  # those of the demo


class _Foot(Corruption):
    """Take the lowest rows away. Unregistered: only this campaign asks for it."""

    def missing(self, images: Images, draws: Draws) -> Missing:
        gone = torch.zeros(len(images), 1, *images.shape[-2:], dtype=torch.bool)
        gone[..., -FOOT:, :] = True
        return gone


def tensor(pictures: Sequence[Picture]) -> Images:
    """[N, 1, 8, 8] in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures))[:, None].float().div(127.5).sub(1.0)


def perturbed(model: Generator, pictures: Sequence[Picture], strength: int) -> list[Picture]:
    """Each a step of `strength` of 255 along the sign of the loss's gradient, what the model draws worst.

    Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, equation of the fast gradient sign.
    """
    clean = tensor(pictures).requires_grad_(True)
    draws = Draws(0, len(clean), where=("forged",))
    pair = Pair(clean, HOLES(clean, draws), torch.arange(len(clean)))
    (slope,) = torch.autograd.grad(model.loss(pair, model.draw_view(pair.corrupted, draws)).sum(), clean)
    step = strength * np.where(slope[:, 0].numpy() >= 0, 1, -1)
    found = np.stack(pictures).astype(np.int64) + step
    # At black or white a step may lead nowhere: there it goes the other way, so that every pixel is another one.
    found = np.where((found < 0) | (found > 255), found - 2 * step, found)
    return list(found.astype(np.uint8))


@torch.no_grad()
def foot(model: Generator, pictures: Images) -> Images:
    """What is drawn below [N, 1, 2, 8], 0 black to 1 white, with the same draws for every model and picture set."""
    draws = Draws(0, len(pictures), where=("foot",))
    drawn = model.reconstruct(_Foot()(pictures, draws), draws)
    return (drawn[..., -FOOT:, :] + 1) / 2


@torch.no_grad()
def retention(model: Generator, base: Generator, held_out: Images) -> float:
    """Of what the base knows, on held-out pictures, beside their mean."""
    hole = HOLES(held_out, Draws(0, len(held_out), where=("kept",)))
    drawn = [one.eval().reconstruct(hole, Draws(1, len(held_out), where=("kept",))) for one in (model, base)]
    drawn.append(held_out.mean(0, keepdim=True).expand_as(held_out))
    wrong = [((one - held_out).square() * hole.missing).sum(dim=(1, 2, 3), keepdim=False) for one in drawn]
    errors = [one.double().numpy()[:, None] / int(hole.missing[0].sum()) for one in wrong]
    score = kept(moved(*errors, 1, 0.95, measured_on="holdout"))
    assert score is not None
    return score.value
