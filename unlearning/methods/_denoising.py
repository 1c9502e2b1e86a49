"""What the methods of unconditional diffusion share: noised pictures, a window of timesteps, errors on missing pixels.

x_t = gamma x + sigma eps,   gamma = sqrt(abar_t),   sigma = sqrt(1 - abar_t)
"""

from __future__ import annotations

from typing import ClassVar, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from unlearning.abilities import Denoising
from unlearning.contracts import Generator, Method
from unlearning.methods._joint import terms_of
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Missing, Pair, PerImage, Terms, View, joined_view


class DenoisingMethod(Method):
    """A method that looks at noised pictures. Park and Park, 2025: forget at some timesteps only.

    A window is a share of the schedule, 0 = hardly any noise, 1 = nothing else. What is kept is trained at all
    timesteps, unless both terms are taken at the same points.
    """

    requires: ClassVar[type[nn.Module]] = Denoising
    uses_original: ClassVar[bool] = False

    window: tuple[float, float] = Field(
        (0.0, 1.0), description="timesteps to forget at; Park and Park have (0.25, 0.75) for faces; search quarters"
    )

    @model_validator(mode="after")
    def _opens(self) -> Self:
        first, last = self.window
        if not 0 <= first < last <= 1:
            raise ValueError("window is a share of the schedule: 0 <= first < last <= 1")
        return self

    def view_within(self, student: Generator, forget: Pair, draws: Draws) -> View:
        """As `draw_view`, t uniform over the window."""
        timestep, noise = student.draw_view(forget.corrupted, draws)
        length = len(cast(Denoising, student).abar)
        first = min(int(self.window[0] * length), length - 1)
        width = max(int(self.window[1] * length), first + 1) - first
        return first + timestep * width // length, noise


def levels(student: Generator, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """gamma and sigma of t [B], [B, 1, 1, 1] each."""
    kept = cast(Denoising, student).abar[timestep].view(-1, 1, 1, 1)
    return kept.sqrt(), (1 - kept).sqrt()


def predicted(student: Generator, noised: Images, timestep: Tensor) -> Tensor:
    """eps_theta(m, t), [B, C, H, W] float32."""
    return cast(Denoising, student).predict(noised, timestep).float()


def error(found: Tensor, noise: Tensor, missing: Missing) -> PerImage:
    """Squared error, averaged over an image's missing pixels: [B]."""
    counted = missing.expand_as(found).float()
    return ((found - noise).square() * counted).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3))


def taught(student: Generator, batch: Batch, here: View, target: Tensor, draws: Draws) -> Terms:
    """Noised forget images, of the view `here`, against `target` [F, C, H, W]; retain images' own loss. One pass."""
    there = student.draw_view(batch.retain.corrupted, draws.at("view", "retain"))
    both = batch.forget.joined(batch.retain)
    timestep, noise = joined_view(here, there)
    gamma, sigma = levels(student, timestep)
    found = predicted(student, gamma * both.clean + sigma * noise, timestep)
    return terms_of(error(found, torch.cat([target, there[1]]), both.corrupted.missing), batch)


def kept_alone(student: Generator, batch: Batch, draws: Draws) -> Terms:
    """The retain images' own loss, where no forget image came."""
    retain = student.loss(batch.retain, student.draw_view(batch.retain.corrupted, draws.at("view", "retain")))
    return Terms(forget=retain.new_zeros(0), retain=retain)


def square(difference: Tensor) -> PerImage:
    """|d|^2 over all pixels, [B]."""
    return difference.square().flatten(1).sum(dim=1)
