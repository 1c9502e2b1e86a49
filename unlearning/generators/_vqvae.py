"""How a tokenizer learns: van den Oord et al., "Neural Discrete Representation Learning", NeurIPS 2017, equation 3.

    |x - D(e)|^2  +  |sg[z] - e|^2  +  beta |z - sg[e]|^2,   z = E(x), e = its nearest entry, sg = no gradient

The decoder reads e and its gradient is handed to z as it is (straight-through). Pictures on the tokenizer's own scale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlearning.contracts import Generator
from unlearning.generators._vqgan import Tokenizer
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View

COMMITMENT = 0.25  # beta; the paper finds no difference between 0.1 and 2


class LearningTokenizer(Generator):
    """A tokenizer whose weights are parameters. It sees whole pictures: the hole has no say in how they are written."""

    view_is_fixed = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """Nothing is drawn."""
        return ()

    def encode(self, pair: Pair, view: View) -> Latents:
        """(z [B, K, H / f, W / f],), before the nearest entry is taken."""
        return (self._encode(pair.clean),)

    def loss(self, pair: Pair, view: View) -> PerImage:
        """Equation 3, each term averaged over an image's numbers: [B]."""
        with torch.autocast(pair.clean.device.type, enabled=False):
            pixels, found = self.tokenizer.scale(pair.clean.float()), self._encode(pair.clean.float())
            entries = self.tokenizer.entries(self.tokenizer.nearest(found))
            drawn = self.tokenizer.decoder(found + (entries - found).detach())
            terms = (
                _error(drawn, pixels),
                _error(entries, found.detach()),
                COMMITMENT * _error(found, entries.detach()),
            )
            return torch.stack(terms).sum(dim=0)

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """What was written down, read again, in the hole; visible pixels come back untouched."""
        written = self.tokenizer.images(self.tokenizer.codes(corrupted.images)).clamp(-1, 1)
        return torch.where(corrupted.missing, written, corrupted.images)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """The way from pixels to z."""
        return {name: weight for name, weight in self.named_parameters() if name.startswith("tokenizer.encoder.")}

    def _encode(self, images: Images) -> Tensor:
        found: Tensor = self.tokenizer.encoder(self.tokenizer.scale(images))
        return found


def _error(ours: Tensor, theirs: Tensor) -> PerImage:
    return (ours - theirs).square().flatten(1).mean(dim=1)
