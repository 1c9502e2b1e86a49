"""Small things to test with: pictures, two toy generators (one latent map, three latent maps), batches, runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unlearning.abilities import Drawing
from unlearning.contracts import Corruption, Generator, GeneratorRecipe
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.data.batches import Batches
from unlearning.generators.mae import MaeRecipe
from unlearning.generators.palette import PaletteRecipe
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.methods.noise_target import NoiseTarget
from unlearning.params import Budget
from unlearning.randomness import Draws, generator
from unlearning.scopes.encoder import Encoder
from unlearning.training.parallel import World
from unlearning.training.run import Run
from unlearning.training.task import Place
from unlearning.types import Batch, Corrupted, Images, Latents, Pair, PerImage, View

SIDE = 8  # pixels
ALONE = World(0, 1, torch.device("cpu"))
SMALL_MAE: dict[str, Any] = {"width": 16, "heads": 2, "depth": 2, "decoder_width": 8, "decoder_heads": 2}
# The smallest member of a family whose default is too large for a test; others are tested as they come.
SMALL_LATENT: dict[str, Any] = {
    "widths": (16, 16),
    "heads": (2, 2),
    "context_width": 8,
    "vae_widths": (8, 16),
    "vae_steps": 2,
    "train_steps": 10,
    "sample_steps": 2,
}
SMALLEST: dict[str, dict[str, Any]] = {
    # All noise at the end, as after a thousand smaller steps.
    "ddpm": {"widths": (8, 16), "train_steps": 10, "beta_end": 0.9, "sample_steps": 2},
    "latent": SMALL_LATENT,
    "mae": SMALL_MAE,
    "mage": {
        "tokenizer_width": 8,
        "codes": 32,
        "code_width": 8,
        **SMALL_MAE,
        "decoder_depth": 1,
        "iterations": 4,
        "tokenizer_steps": 2,
    },
    "sharded": {"of": {"kind": "mae", **SMALL_MAE}, "shards": 2, "slices": 2},
    "palette": {"widths": (8, 16), "layers": 1, "train_steps": 10, "sample_steps": 2},
    "vae": {"widths": (8, 8), "latent_channels": 4},
    "stable_diffusion": {**SMALL_LATENT, "beta_end": 0.9},
}
# A method that learns something before the first step, cut short where what it learns is not what is tested.
QUICK: dict[str, dict[str, Any]] = {
    "anchored_ascent": {"anchor": "fisher", "drawn": 3},
    "recognised_target": {"recogniser_steps": 2, "recogniser_images": 4},
    "selective_amnesia": {"drawn": 6, "fisher_pictures": 2, "duplicate": 0.01},
}


class ToyGenerator(Drawing):
    """E and D are one linear map each, over all pixels of the corrupted image; the view is a shift of the latents."""

    def __init__(self, pixels: int, width: int = 6) -> None:
        super().__init__()
        self.into = nn.Linear(pixels, width, bias=False)
        self.out = nn.Linear(width, pixels, bias=False)

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        return (draws.normal(1) if len(corrupted.images) else torch.empty(0, 1),)

    def encode(self, pair: Pair, view: View) -> Latents:
        return (self.into(pair.corrupted.images.flatten(1)) + view[0],)

    def loss(self, pair: Pair, view: View) -> PerImage:
        predicted = self.out(self.encode(pair, view)[0]).view_as(pair.clean)
        return (predicted - pair.clean).square().masked_fill(~pair.corrupted.missing, 0.0).mean(dim=(1, 2, 3))

    def draw(self, pair: Pair, view: View) -> Images:
        invented = self.out(self.encode(pair, view)[0]).view_as(pair.clean)
        return torch.where(pair.corrupted.missing, invented, pair.corrupted.images)

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        pair = Pair(corrupted.images, corrupted, torch.arange(len(corrupted.images)))
        drawn = self.draw(pair, self.draw_view(corrupted, draws))
        return torch.where(corrupted.missing, drawn.clamp(-1, 1), corrupted.images)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        return {"into.weight": self.into.weight}


class ToyPyramid(ToyGenerator):
    """An encoder with three latent maps of different shapes, as a U-Net has."""

    def __init__(self, channels: int) -> None:
        Generator.__init__(self)
        self.levels = nn.ModuleList(nn.Conv2d(channels if i == 0 else 3, 3, 3, 2, 1) for i in range(3))
        self.head = nn.Conv2d(3, channels, 1)

    def encode(self, pair: Pair, view: View) -> Latents:
        maps, here = list[Tensor](), pair.corrupted.images + view[0][:, :, None, None]
        for level in self.levels:
            here = level(here).tanh()
            maps.append(here)
        return tuple(maps)

    def loss(self, pair: Pair, view: View) -> PerImage:
        drawn = self._drawn(self.encode(pair, view), pair.clean)
        return (drawn - pair.clean).square().masked_fill(~pair.corrupted.missing, 0.0).mean(dim=(1, 2, 3))

    def draw(self, pair: Pair, view: View) -> Images:
        drawn = self._drawn(self.encode(pair, view), pair.clean)
        return torch.where(pair.corrupted.missing, drawn, pair.corrupted.images)

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in self.named_parameters() if name.startswith("levels.")}

    def _drawn(self, maps: Latents, like: Images) -> Images:
        sides = [nn.functional.interpolate(part, size=like.shape[-2:]) for part in maps]
        return self.head(torch.stack(sides).sum(0))


class ToyRecipe(GeneratorRecipe):
    """Unregistered, so that no list of kinds ever shows it."""

    abilities = (Drawing,)

    def build(self, image_size: int, channels: int) -> Generator:
        return ToyGenerator(channels * image_size**2)


class ToyPyramidRecipe(GeneratorRecipe):
    """Unregistered, with structured latents."""

    abilities = (Drawing,)

    def build(self, image_size: int, channels: int) -> Generator:
        return ToyPyramid(channels)


def recipes() -> dict[str, GeneratorRecipe]:
    """Every registered generator at its smallest, the second network of one of them, and the two toys."""
    registered = {kind: GeneratorRecipe.kinds[kind](**SMALLEST.get(kind, {})) for kind in GeneratorRecipe.kinds}
    guided = PaletteRecipe(network="guided", head_width=8, **SMALLEST["palette"])
    others = {"palette_guided": guided, "toy": ToyRecipe(), "toy_pyramid": ToyPyramidRecipe()}
    return {**dict(sorted(registered.items())), **others}


def built(recipe: GeneratorRecipe, seed: int = 0, channels: int = 1) -> Generator:
    """A generator for SIDE x SIDE pictures, its weights a function of `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return recipe.build(SIDE, channels)


def pictures(name: str, count: int, channels: int = 1) -> Images:
    """Smooth pictures in [-1, 1], another set for every name."""
    coarse = torch.rand(count, channels, 3, 3, generator=generator(0, name)) * 2 - 1
    return nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=True)


class Pictures:
    """An ImageSource of smooth pictures."""

    def __init__(self, name: str, count: int) -> None:
        self.images = pictures(name, count)

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, rows: Tensor) -> Images:
        return self.images[rows]


def pair(name: str, count: int = 4, channels: int = 1, corruption: Corruption | None = None) -> Pair:
    """Pictures and their corrupted view."""
    clean = pictures(name, count, channels)
    corrupt = corruption or RandomPatches()
    return Pair(clean, corrupt(clean, Draws(0, count, where=(name,))), torch.arange(count))


def batch(count: int = 4) -> Batch:
    """Both sets, `count` images each."""
    return Batch(forget=pair("forget", count), retain=pair("retain", count))


def run(world: World = ALONE, batch_size: int = 8, steps: int = 12, **changes: Any) -> Run:
    """A small noise-target run, or one that differs in the fields given."""
    recipe = changes.pop("generator", MaeRecipe(**SMALL_MAE))
    budget = {"learning_rate": 1e-2, "warmup_steps": 2, "log_every": 2, "save_every": 3, "weight_decay": 0.05}
    budget = Budget(steps=steps, batch_size=batch_size, **{**budget, **changes.pop("budget", {})})
    place = Place.of(world, budget.seed, batch_size)
    forget, retain = Pictures("forget", 20), Pictures("retain", 30)
    method = changes.get("method", NoiseTarget())
    values: dict[str, Any] = {
        "stage": "toy",
        "student": built(recipe),
        "original": built(recipe) if method.uses_original else None,
        "method": method,
        "merge": WeightedSum(forget_weight=1.0),
        "scope": Encoder(),
        "corruption": RandomPatches(),
        "batches": Batches(
            forget if method.uses_forget else None,
            retain if method.reads_retain else None,
            batch_size,
            budget.seed,
            place.first,
            place.rows,
        ),
        "budget": budget,
        "recipe": {"name": "toy"},
        "prepared_method": {"mean": torch.tensor(0.1), "deviation": torch.tensor(0.5)},
    }
    return Run(**{**values, **changes})
