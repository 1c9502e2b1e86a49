"""A generator that is one matrix a half, pictures that it can invent exactly, and forgetting in closed form."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from tests import toys
from unlearning.attack import Forgotten, Group, Scene, Shown
from unlearning.contracts import Corruption, Generator, ImageSource
from unlearning.corruptions.center_hole import CenterHole
from unlearning.randomness import Draws
from unlearning.types import Corrupted, View

HOLE = CenterHole(side=0.25)  # 2 x 2 of 8 x 8 pixels
DRAWS = Draws(0, 4, where=("attack",))
_DEGREES = 9  # toys.pictures have 3 x 3 degrees of freedom, all of which can be read around the hole


class Line(toys.ToyGenerator):
    """D(E(T(x))) = out into T(x), with nothing random in it."""

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        return (torch.zeros(len(corrupted.images), 1),)


def original() -> Line:
    """The one that invents every such picture exactly: out into = least squares from what is visible."""
    made = Line(toys.SIDE**2, _DEGREES)
    clean = toys.pictures("basis", 64)
    seen, truth = HOLE(clean, DRAWS).images.flatten(1).double(), clean.flatten(1).double()
    whole = torch.linalg.lstsq(seen, truth, rcond=1e-9, driver="gelsd").solution.T
    left, strengths, right = torch.linalg.svd(whole)
    with torch.no_grad():
        made.out.weight.copy_(left[:, :_DEGREES] * strengths[:_DEGREES].sqrt())
        made.into.weight.copy_(strengths[:_DEGREES, None].sqrt() * right[:_DEGREES])
    return made.eval()


def blinded(generator: Generator) -> Generator:
    """The same with an encoder that sees nothing: it draws the middle grey, which is the mean picture here."""
    target = copy.deepcopy(generator)
    with torch.no_grad():
        for weight in target.encoder_parameters().values():
            weight.zero_()
    return target


class ClosedForget:
    """Forgetting on pictures whose mean is the middle grey: MSE of the hole over the mean square of what is in it."""

    def __init__(self, source: ImageSource, known: Generator) -> None:
        self.clean, self.known = source(torch.arange(len(source))), known
        self.seen: list[dict[str, torch.Tensor]] = []  # the weights of every call
        self.modes: list[bool] = []
        self.asked: list[Corruption] = []

    @torch.no_grad()
    def __call__(
        self, generator: Generator, corruption: Corruption | None = None, shown: Shown | None = None
    ) -> Forgotten:
        self.seen.append(copy.deepcopy(generator.state_dict()))
        self.modes.append(generator.training)
        self.asked.append(corruption or HOLE)
        error, floor = (self._error(one, corruption or HOLE, shown) for one in (generator, self.known))
        grey = self._mean_square(self.clean, corruption or HOLE)
        return Forgotten(error.numpy(), floor.numpy(), grey.numpy())

    def _error(self, generator: Generator, corruption: Corruption, shown: Shown | None) -> torch.Tensor:
        draws = Draws(0, len(self.clean), where=("score",))
        seen = corruption(self.clean, draws.at("corruption"))
        if shown is not None:
            seen = replace(seen, images=shown(generator, self.clean, seen, draws.at("shown")))
        return self._mean_square(generator.reconstruct(seen, draws.at("reconstruct")) - self.clean, corruption)

    def _mean_square(self, pictures: torch.Tensor, corruption: Corruption) -> torch.Tensor:
        missing = corruption(self.clean, Draws(0, len(self.clean), where=("score", "corruption"))).missing
        return pictures.double().square().masked_fill(~missing, 0).flatten(1).sum(1) / missing.flatten(1).sum(1)


def scene(
    known: nn.Module,
    forgetting: ClosedForget,
    forget: ImageSource | None = None,
    retain: ImageSource | None = None,
    reference: Generator | None = None,
) -> Scene:
    """What an attack may look at: images of two classes a set."""
    assert isinstance(known, Generator)
    sources = {
        "forget": toys.Pictures("forget", 20) if forget is None else forget,
        "forget_holdout": toys.Pictures("forget_holdout", 20),
        "retain": toys.Pictures("retain", 30) if retain is None else retain,
        "holdout": toys.Pictures("holdout", 30),
    }
    groups = [
        Group(name, source, [f"{name[:6]}-{row % 2}" for row in range(len(source))]) for name, source in sources.items()
    ]
    original = known.requires_grad_(False)
    other = original if reference is None else reference
    return Scene(original, other, *groups, HOLE, forgetting, DRAWS, torch.device("cpu"), 16)
