"""A generator that is another in all but the picture it makes: what an attacker puts behind, or around, a model."""

from __future__ import annotations

from torch import nn

from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Latents, Pair, PerImage, View


class Repainted(Generator):
    """Views, encodings and losses are the target's; who derives from it says what is drawn."""

    def __init__(self, target: Generator) -> None:
        super().__init__()
        self.target = target
        self.eval()

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """The target's."""
        return self.target.draw_view(corrupted, draws)

    def encode(self, pair: Pair, view: View) -> Latents:
        """The target's."""
        return self.target.encode(pair, view)

    def loss(self, pair: Pair, view: View) -> PerImage:
        """The target's."""
        return self.target.loss(pair, view)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """The target's, by the names that they have here."""
        return {f"target.{name}": weight for name, weight in self.target.encoder_parameters().items()}
