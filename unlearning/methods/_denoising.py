"""What the methods of unconditional diffusion share: noised pictures, errors on missing pixels, where to forget.

x_t = gamma x + sigma eps,   gamma = sqrt(abar_t),   sigma = sqrt(1 - abar_t)

Where to forget is after Park and Park, "Data Unlearning Beyond Uniform Forgetting via Diffusion Time and Frequency
Selection", 2025: at some timesteps, and in what is coarse. With F the orthonormal Fourier transform over a picture,

    |P r|^2 = sum over |f| <= radius of |F(r)_f|^2,   r = e(a_t) - target

stands for |r|^2 in the forget term; at radius 1 the two are the same (Parseval).
"""

from __future__ import annotations

from typing import ClassVar, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from unlearning.abilities import Denoising
from unlearning.contracts import Generator, Method, Preparation, Prepared
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.types import Batch, Missing, Pair, PerImage, Terms, View, joined_view


class DenoisingMethod(Method):
    """A method that looks at noised pictures, and may forget at some timesteps and frequencies only.

    A window is a share of the schedule, 0 = hardly any noise, 1 = nothing else. What is kept is trained at all
    timesteps, unless both terms are taken at the same points, and always at all frequencies.
    """

    requires: ClassVar[type[nn.Module]] = Denoising
    uses_original: ClassVar[bool] = False

    window: tuple[float, float] = Field(
        (0.0, 1.0), description="timesteps to forget at; Park and Park have (0.25, 0.75) for faces; search quarters"
    )
    low_pass: float = Field(
        1.0,
        gt=0,
        le=1,
        description="spatial frequencies to forget: a radius, 1 = the highest there is, the spectrum's corner, so all; "
        "0.7 = Nyquist along an axis; search 0.1 to 1. Of whole pictures: with a hole only 1",
    )

    @model_validator(mode="after")
    def _opens(self) -> Self:
        first, last = self.window
        if not 0 <= first < last <= 1:
            raise ValueError("window is a share of the schedule: 0 <= first < last <= 1")
        return self

    def prepare(self, given: Preparation) -> Prepared:
        """Nothing. Raises ParamsError if a part of the spectrum is asked of pictures that have a hole."""
        if self.low_pass < 1 and not given.corruption.degrades:
            raise ParamsError(
                f"unlearn.method: low_pass {self.low_pass:g} filters errors of whole pictures, and corruption "
                f"{given.corruption.kind!r} leaves a hole; low_pass 1 is right with it"
            )
        return {}

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


def signal(student: Generator, pair: Pair) -> Tensor:
    """What noise is added to, [B, c, h, w]; no gradient flows through it."""
    return cast(Denoising, student).signal(pair)


def holes(student: Generator, pair: Pair) -> Missing:
    """[B, 1, h, w]."""
    return cast(Denoising, student).grid(pair.corrupted.missing)


def predicted(student: Generator, noised: Tensor, timestep: Tensor) -> Tensor:
    """eps_theta(m, t), [B, c, h, w] float32."""
    return cast(Denoising, student).predict(noised, timestep).float()


def error(found: Tensor, noise: Tensor, missing: Missing) -> PerImage:
    """Squared error, averaged over an image's missing pixels: [B]."""
    counted = missing.expand_as(found).float()
    return ((found - noise).square() * counted).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3))


def coarse_error(found: Tensor, noise: Tensor, missing: Missing, low_pass: float) -> PerImage:
    """As `error`, of the part of the difference that is no finer than `low_pass`; of whole pictures: [B]."""
    if low_pass == 1:
        return error(found, noise, missing)
    spectrum = torch.fft.fft2(found - noise, norm="ortho")  # [B, C, H, W] complex
    rows, columns = (torch.fft.fftfreq(side, device=found.device) for side in found.shape[-2:])
    highest = torch.hypot(rows.abs().max(), columns.abs().max())
    heard = torch.hypot(rows[:, None], columns[None]) <= low_pass * highest  # [H, W]
    energy = torch.view_as_real(spectrum).square().sum(dim=-1) * heard
    return energy.sum(dim=(1, 2, 3)) / found.shape[1:].numel()


def taught(student: Generator, batch: Batch, here: View, target: Tensor, draws: Draws, low_pass: float = 1.0) -> Terms:
    """Noised forget images, of the view `here`, against `target` [F, c, h, w]; retain images' own loss. One pass."""
    there = student.draw_view(batch.retain.corrupted, draws.at("view", "retain"))
    both = batch.forget.joined(batch.retain)
    timestep, noise = joined_view(here, there)
    gamma, sigma = levels(student, timestep)
    found, forget = predicted(student, gamma * signal(student, both) + sigma * noise, timestep), len(batch.forget)
    return Terms(
        forget=coarse_error(found[:forget], target, holes(student, batch.forget), low_pass),
        retain=error(found[forget:], there[1], holes(student, batch.retain)),
    )


def square(difference: Tensor) -> PerImage:
    """|d|^2 over all pixels, [B]."""
    return difference.square().flatten(1).sum(dim=1)
