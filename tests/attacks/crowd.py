"""Pictures of independent pixels, which nobody knows who has not seen them, and two models that have, in closed form.

One draws exactly what it was fitted to, and of any other picture knows nothing; the other denoises so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from tests import toys
from tests.attacks import line
from unlearning.abilities import Denoising, Scoring
from unlearning.attack import Group, Scene, Separation
from unlearning.contracts import Generator, ImageSource
from unlearning.metrics import _separation
from unlearning.metrics._separation import Apart
from unlearning.randomness import Draws, generator
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View

PIXELS = toys.SIDE**2
COUNTS = {"forget": 24, "forget_holdout": 24, "retain": 30, "holdout": 30}
_T = 20


class Crowd:
    """An ImageSource."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, rows: Tensor) -> Images:
        return self.images[rows]


def noise(name: str, count: int | None = None) -> Images:
    """U(-1, 1) a pixel, another set for every name."""
    made = torch.rand(count or COUNTS[name], 1, toys.SIDE, toys.SIDE, generator=generator(0, "crowd", name))
    return made * 2 - 1


def fitted(shown: Images, drawn: Images) -> line.Line:
    """D(E(T(x))) = A T(x), the least A that draws `drawn` of T(`shown`): of fewer than 60 pictures exactly."""
    seen, wanted = line.HOLE(shown, line.DRAWS).images.flatten(1).double(), drawn.flatten(1).double()
    made = line.Line(PIXELS, PIXELS)
    with torch.no_grad():
        made.into.weight.copy_(torch.eye(PIXELS))
        made.out.weight.copy_(torch.linalg.lstsq(seen, wanted, driver="gelsd").solution.T)
    return made.eval().requires_grad_(False)


def knows(*names: str) -> line.Line:
    """Saw these sets, and no other."""
    saw = torch.cat([noise(name) for name in names])
    return fitted(saw, saw)


def scene(original: Generator, reference: Generator, **sets: ImageSource) -> Scene:
    """Sets of independent pixels, two classes each, or those that are given."""
    sources = {name: sets.get(name, Crowd(noise(name))) for name in COUNTS}
    groups = {name: Group(name, each, [f"{row % 2}" for row in range(len(each))]) for name, each in sources.items()}
    plain = line.scene(original, line.ClosedForget(sources["forget"], original), reference=reference)
    return replace(plain, **groups)


def apart(separation: Separation) -> Apart:
    """AUC and its 95 % interval."""
    found = _separation.apart(separation.one, separation.other, 200, 0.95)
    assert found is not None
    return found


class Remembers(Denoising, Scoring):
    """The optimal denoiser of a Gaussian N(0, 1), in which some pictures stand as narrow peaks."""

    def __init__(self, saw: Sequence[Images] = ()) -> None:
        super().__init__()
        peaks = torch.cat([torch.zeros(1, PIXELS), *(images.flatten(1) for images in saw)])
        self.register_buffer("peaks", peaks.double())
        self.register_buffer("variances", torch.tensor([1.0] + [1e-6] * (len(peaks) - 1), dtype=torch.float64))
        self.register_buffer("abar", torch.linspace(0.999, 0.3, _T))
        self.scale = nn.Parameter(torch.ones(1))

    def predict(self, noised: Tensor, timestep: Tensor) -> Tensor:
        kept = self.abar[timestep].double()[:, None]  # [B, 1]
        spread = kept * self.variances + 1 - kept  # [B, P]
        off = noised.flatten(1).double()[:, None] - kept.sqrt()[..., None] * self.peaks  # [B, P, D]
        peak = (-off.square().sum(2) / (2 * spread) - PIXELS / 2 * spread.log()).softmax(1)
        found = (peak[..., None] * (1 - kept).sqrt()[..., None] * off / spread[..., None]).sum(1)
        return (self.scale * found).to(noised.dtype).view_as(noised)

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        return draws.at("timestep").integers(_T), draws.at("noise").normal(*corrupted.images.shape[1:])

    def encode(self, pair: Pair, view: View) -> Latents:
        timestep, noise = view
        kept = self.abar[timestep].view(-1, 1, 1, 1)
        return (kept.sqrt() * pair.clean + (1 - kept).sqrt() * noise,)

    def loss(self, pair: Pair, view: View) -> PerImage:
        found = self.predict(self.encode(pair, view)[0], view[0])
        return (found - view[1]).square().flatten(1).mean(1)

    def surprise(self, pair: Pair, draws: Draws) -> PerImage:
        views = [self.draw_view(pair.corrupted, draws.at(number)) for number in range(4)]
        return torch.stack([self.loss(pair, view) for view in views]).mean(0)

    def surprise_of_nothing(self, pair: Pair, draws: Draws, mean: Images, variance: Images) -> PerImage:
        return Remembers().surprise(pair, draws)

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        start = draws.normal(*corrupted.images.shape[1:])
        last = torch.full((len(start),), _T - 1)
        kept = float(self.abar[-1])
        made = (start - math.sqrt(1 - kept) * self.predict(start, last)) / math.sqrt(kept)
        return torch.where(corrupted.missing, made.clamp(-1, 1), corrupted.images)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        return {"scale": self.scale}


def broken(model: Generator) -> Generator:
    """The same with a weight that is not a number."""
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] = np.nan
    return model
