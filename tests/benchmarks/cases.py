"""What is timed: the same model, data and hole for both steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unlearning.contracts import Corruption, GeneratorRecipe
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.half import Half
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.generators.mae import MaeRecipe
from unlearning.generators.mage import MageRecipe

# A MAGE whose tokenizer costs about six times its encoder (ViT-B at 256 pixels: five), small enough for two cores.
# What can be saved is mostly what the tokenizer costs: with a narrower one (width 32, no margin: about twice the
# encoder) the same code saved half as much, 2.9x where this case was 5.8x.
_REDUCED_MAGE: dict[str, Any] = {
    "tokenizer_width": 40,
    "tokenizer_multiples": (1, 1, 2, 4),
    "tokenizer_blocks": 2,
    "codes": 256,
    "code_width": 64,
    "width": 192,
    "depth": 6,
    "heads": 6,
    "decoder_width": 128,
    "decoder_depth": 2,
    "decoder_heads": 4,
    "margin": 1,
}


@dataclass(frozen=True, slots=True)
class Case:
    """`images` a set and step; `chunk` of them at once in ours; `rounds` of `steps` steps are timed, in turn."""

    generator: GeneratorRecipe
    image_size: int
    channels: int
    images: int
    chunk: int | None
    rounds: int
    steps: int
    corruption: Corruption = field(default_factory=CenterHole)
    by_row: bool = False


def _mae(size: str, **changes: Any) -> MaeRecipe:
    return MaeRecipe.model_validate({"size": size, **changes})


def _mage(size: str = "tiny", **changes: Any) -> MageRecipe:
    return MageRecipe.model_validate({"size": size, **changes})


CPU: dict[str, Case] = {
    "mae-small-32": Case(_mae("small"), 32, 3, 16, 4, 5, 4),
    "mae-small-32-row-holes": Case(_mae("small"), 32, 3, 16, 4, 5, 4, RandomPatches(patch=4), by_row=True),
    "mage-reduced-64": Case(_mage(**_REDUCED_MAGE), 64, 3, 8, 4, 5, 2),
    "mage-vit-b-256": Case(_mage("base"), 256, 3, 4, 2, 2, 1, Half()),  # 129 tokens, as the published training keeps
}
CUDA: dict[str, Case] = {
    "mae-vit-b-224": Case(_mae("base", pixels="imagenet"), 224, 3, 128, None, 5, 4),
    "mae-vit-l-224": Case(_mae("large", pixels="imagenet"), 224, 3, 64, None, 5, 4),
    "mage-vit-b-256": Case(_mage("base"), 256, 3, 32, None, 5, 3, Half()),
    "mage-vit-l-256": Case(_mage("large"), 256, 3, 32, None, 5, 3, Half()),
}
EVERY = {"cpu": CPU, "cuda": CUDA}
