"""Interpolation, as Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020, walk it.

Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024, move the encoder and leave the decoder
as it was, so what the decoder knew it still knows: with E0 swapped back in, at share 1, it draws it again. Whoever
makes this attack holds the original's weights theta0; it says where the target lies, not what can be stolen from it.

    forgetting(share) = forgetting of the target with the weights theta + share (theta0 - theta),  share = 0 .. 1

What it reports: 0 at share 1 wherever nothing but `part` was moved. A curve that falls early, long before share 1, says
that the target lies beside the original, and is only a little push away from it. The reference is trained by itself, if
from the same start, so its own walk may lead over a hump; with `part: encoder` its share 1 is E0 before a decoder that
was never trained with it. Search: steps 2 to 20.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from unlearning.attack import Attack, Curve, Ready, Scene
from unlearning.contracts import Generator
from unlearning.rules import Profile


class Interpolate(Attack, kind="interpolate"):
    """Walks the target's weights back to the original's, in equal steps."""

    tries = "walk back toward the original's weights"

    steps: int = Field(4, ge=1, le=100, description="equal steps from the target to the original; search 2 to 20")
    part: Literal["encoder", "decoder", "all"] = Field("encoder", description="the weights that are walked back")

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """The encoder, in steps; an audit walks the decoder and the whole, too."""
        parts: tuple[Literal["encoder", "decoder", "all"], ...] = ("encoder", "decoder", "all")
        return tuple(cls(part=part) for part in (parts if profile == "audit" else parts[:1]))

    @torch.no_grad()
    def run(self, target: Generator, scene: Scene, ready: Ready) -> Curve:
        """`steps` + 1 points, effort = share of the way in [0, 1]."""
        walker = copy.deepcopy(target).eval()
        start, end = self._weights(copy.deepcopy(target)), self._weights(scene.original)
        shares, found = [number / self.steps for number in range(self.steps + 1)], []
        for share in shares:
            for name, weight in self._weights(walker).items():
                weight.copy_(torch.lerp(start[name], end[name].to(weight), share))  # exact at 0 and at 1
            found.append(scene.forgetting(walker))
        return Curve(shares, found, "share of the way", teaches=True)

    def _weights(self, generator: Generator) -> dict[str, Tensor]:
        """By name, in place: writing to one changes the generator."""
        encoder = generator.encoder_parameters()
        if self.part == "encoder":
            return dict(encoder)
        floating = {name: value for name, value in generator.state_dict().items() if value.is_floating_point()}
        return {name: value for name, value in floating.items() if self.part == "all" or name not in encoder}
