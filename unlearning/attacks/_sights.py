"""Ways to change what is visible: each an `attack.Shown`, a value that equals another of the same numbers.

None looks into the hole to change what is around it, but for `Adversarial`, which knows the truth and says so. Where a
corruption leaves something of every pixel, what it left is what is changed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unlearning.abilities import Drawing
from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Missing, Pair, PerImage


@dataclass(frozen=True, slots=True)
class Jpeg:
    """Each picture, its hole grey, written at a quality and read back; other than three channels one by one."""

    quality: int  # 1 to 95

    def __call__(self, model: Generator, truth: Images, corrupted: Corrupted, draws: Draws) -> Images:
        """[B, C, H, W]."""
        levels = ((corrupted.images.float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        read = torch.stack([self._written(picture) for picture in levels])
        return _visibly(corrupted, (read.float() / 127.5 - 1).to(corrupted.images))

    def _written(self, picture: Tensor) -> Tensor:
        """[C, H, W] uint8."""
        parts = [picture.permute(1, 2, 0)] if len(picture) == 3 else list(picture)
        found = []
        for part in parts:
            sink = io.BytesIO()
            Image.fromarray(part.numpy()).save(sink, "JPEG", quality=self.quality)
            found.append(torch.from_numpy(np.array(Image.open(sink))))
        return found[0].permute(2, 0, 1) if len(picture) == 3 else torch.stack(found)

    def __str__(self) -> str:
        return f"JPEG of quality {self.quality}"


@dataclass(frozen=True, slots=True)
class Noisy:
    """N(0, sigma^2) on every visible pixel, clamped to the range of images."""

    sigma: float

    def __call__(self, model: Generator, truth: Images, corrupted: Corrupted, draws: Draws) -> Images:
        """[B, C, H, W]."""
        noise = draws.at("noise").normal(*corrupted.images.shape[1:])
        return _visibly(corrupted, (corrupted.images + self.sigma * noise).clamp(-1, 1))

    def __str__(self) -> str:
        return f"noise of {self.sigma:g}"


@dataclass(frozen=True, slots=True)
class Shifted:
    """What is visible moved down and to the right; a pixel to which nothing visible comes stays as it is."""

    pixels: int

    def __call__(self, model: Generator, truth: Images, corrupted: Corrupted, draws: Draws) -> Images:
        """[B, C, H, W]."""
        images, by = corrupted.images, (self.pixels, self.pixels)
        moved = images.roll(by, (2, 3))
        comes = _shown(corrupted.missing).roll(by, (2, 3))
        comes[:, :, : self.pixels] = False
        comes[:, :, :, : self.pixels] = False
        return _visibly(corrupted, torch.where(comes, moved, images))

    def __str__(self) -> str:
        return f"shift by {self.pixels}"


@dataclass(frozen=True, slots=True)
class Framed:
    """The outermost pixels middle grey, as if cropped away."""

    pixels: int

    def __call__(self, model: Generator, truth: Images, corrupted: Corrupted, draws: Draws) -> Images:
        """[B, C, H, W]."""
        inside, edge = torch.zeros_like(corrupted.images), self.pixels
        inside[:, :, edge:-edge, edge:-edge] = corrupted.images[:, :, edge:-edge, edge:-edge]
        return _visibly(corrupted, inside)

    def __str__(self) -> str:
        return f"crop of {self.pixels}"


@dataclass(frozen=True, slots=True)
class Adversarial:
    """What makes the model draw the truth as well as can be, no visible pixel moved by more than `size`."""

    size: float  # eps
    steps: int

    def __call__(self, model: Generator, truth: Images, corrupted: Corrupted, draws: Draws) -> Images:
        """[B, C, H, W]. Random numbers are the adversary's own: a sampler's are not known to it."""
        if isinstance(model, Drawing):
            return self._descended(model, truth, corrupted, draws)
        return self._best(model, truth, corrupted, draws)

    def _descended(self, model: Drawing, truth: Images, corrupted: Corrupted, draws: Draws) -> Images:
        with torch.inference_mode(False), torch.enable_grad():  # whoever scores does so without gradients
            here = replace(corrupted, images=corrupted.images.clone(), missing=corrupted.missing.clone())
            target, rows = truth.clone(), torch.arange(len(truth))
            view = tuple(part.clone() for part in model.draw_view(here, draws.at("adversary")))
            moved = torch.zeros_like(here.images)
            best, least = here.images, torch.full((len(truth),), torch.inf, device=truth.device)
            for _ in range(self.steps + 1):  # the first look is at what is shown as it is
                moved.requires_grad_(True)
                seen = replace(here, images=_visibly(here, here.images + moved))
                wrong = _wrong(model.draw(Pair(seen.images, seen, rows), view), target, here.missing)
                (slope,) = torch.autograd.grad(wrong.sum(), moved)
                with torch.no_grad():
                    best = torch.where((wrong < least)[:, None, None, None], seen.images, best)
                    least = torch.minimum(wrong, least)
                    moved = self._projected(here, moved - self.size / 4 * slope.sign())
            return best.detach()

    def _projected(self, here: Corrupted, moved: Tensor) -> Tensor:
        """Into the box around what is visible, and into the range of images: [B, C, H, W]."""
        return (here.images + moved.clamp(-self.size, self.size)).clamp(-1, 1) - here.images

    def _best(self, model: Generator, truth: Images, corrupted: Corrupted, draws: Draws) -> Images:
        best, least = corrupted.images, self._drawn_wrong(model, truth, corrupted, corrupted.images, draws)
        for number in range(self.steps):
            signs = draws.at("signs", number).normal(*truth.shape[1:]).sign()
            tried = _visibly(corrupted, (corrupted.images + self.size * signs).clamp(-1, 1))
            wrong = self._drawn_wrong(model, truth, corrupted, tried, draws)
            best = torch.where((wrong < least)[:, None, None, None], tried, best)
            least = torch.minimum(wrong, least)
        return best

    def _drawn_wrong(
        self, model: Generator, truth: Images, corrupted: Corrupted, shown: Images, draws: Draws
    ) -> PerImage:
        picture = model.reconstruct(replace(corrupted, images=shown), draws.at("adversary"))
        return _wrong(picture, truth, corrupted.missing)

    def __str__(self) -> str:
        return f"adversary of {self.size:.3g}"


def _shown(missing: Missing) -> Missing:
    """Where there is something to change: what is visible, or all of it where every pixel is missing."""
    return ~missing | missing.flatten(1).all(dim=1)[:, None, None, None]


def _visibly(corrupted: Corrupted, changed: Images) -> Images:
    return torch.where(_shown(corrupted.missing), changed, corrupted.images)


def _wrong(drawn: Images, truth: Images, missing: Missing) -> PerImage:
    """Mean squared error over an image's missing pixels: [B]."""
    counted = missing.expand_as(truth)
    return ((drawn - truth).square() * counted).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3))
